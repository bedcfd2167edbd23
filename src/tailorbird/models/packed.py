"""Packing: sequences concatenated in one row, with attention separated.

Only attention depends on sequence boundaries; every other layer treats tokens independently. So the
tokens of many texts form one row without padding, and attention alone batches texts of similar
length and runs causally: no mask, no wasted products, the machine's fused kernels. Before use,
`Reader` tests on the model itself whether packing gives the results of single texts. If not, the
model reads padded batches; one whose head is not plain computes its own logits.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from tailorbird import log
from tailorbird.data.tokens import PackedBatch, Tokens, pack, token_groups
from tailorbird.models.chunked_cross_entropy import Head, plain_head, target_loss, target_scores
from tailorbird.models.device import Device
from tailorbird.models.generation_inputs import virtual_count
from tailorbird.models.packed_attention import NAME, Rows, pad, register

# Largest rounding difference between two orders of summation, in nats.
_TOLERANCE = {"fp32": 1e-3, "bf16": 0.15, "fp16": 0.05}
_TOKENS_AT_ONCE = {"cpu": 1024}
_TOKENS_AT_ONCE_GPU = 16384
_CHECKED_TOKENS, _LONG_ENOUGH = 48, 16


def tokens_at_once(device: Device) -> int:
    """Return the default number of tokens in a forward pass."""
    return _TOKENS_AT_ONCE.get(device.kind, _TOKENS_AT_ONCE_GPU)


@dataclass(frozen=True)
class SequenceLosses:
    """A model's losses on each sequence's trained tokens.

    Attributes:
        loss_sums: ``[n]`` float64 nats, summed over the trained tokens.
        counts: ``[n]`` trained tokens.
        hits: ``[n]`` trained tokens that were the most likely.
    """

    loss_sums: np.ndarray
    counts: np.ndarray
    hits: np.ndarray

    def take(self, indices: np.ndarray) -> "SequenceLosses":
        """Return the losses of the sequences at `indices`."""
        return SequenceLosses(self.loss_sums[indices], self.counts[indices], self.hits[indices])

    @property
    def per_token(self) -> float:
        """Mean loss in nats per trained token."""
        return float(self.loss_sums.sum() / max(1, self.counts.sum()))

    @property
    def accuracy(self) -> float:
        """Share of trained tokens that were the most likely."""
        return float(self.hits.sum() / max(1, self.counts.sum()))


def sequence_losses(
    model: "nn.Module | Reader",
    tokens: Tokens,
    device: Device,
    title: str = "",
    packing: bool = True,
) -> SequenceLosses:
    """Return the losses of every sequence; the model must be in evaluation mode."""
    sums, hits = np.zeros(len(tokens)), np.zeros(len(tokens), dtype=np.int64)
    reader = model
    if not isinstance(reader, Reader):
        reader = Reader(reader, device, tokens, packing=packing)
    order = np.argsort(-tokens.lengths, kind="stable")
    groups = token_groups(tokens.lengths + reader.virtual, order, tokens_at_once(device))
    with (
        log.quiet_progress(title, len(tokens), "texts") as bar,
        torch.inference_mode(),
        device.autocast(),
        reader.reading(),
    ):
        for indices in groups:
            losses, right, owners = reader.scores(tokens, indices)
            np.add.at(sums, indices[owners], losses)
            np.add.at(hits, indices[owners], right)
            bar.advance(len(indices))
    return SequenceLosses(sums, tokens.weights, hits)


Way = Literal["packed", "padded", "own"]


class Reader:
    """Runs a model on sequences, in the fastest way with the results of single texts.

    Args:
        model: A causal language model, or one wrapped by a method.
        packing: Whether sequences may be packed.
        longest: Tokens of the longest other sequence that it will read.
        way: A way to use without testing the model (for tensors without values).

    Attributes:
        virtual: The model's virtual tokens before each sequence (prompt tuning).
        way: ``packed``: concatenated. ``padded``: a padded batch, with only the trained tokens'
            logits. ``own``: a padded batch through the model's own forward, with all logits.
        notes: Why faster ways are not used, in words.
    """

    def __init__(
        self,
        model: nn.Module,
        device: Device,
        tokens: Tokens,
        *,
        packing: bool = True,
        longest: int = 0,
        way: Way | None = None,
    ) -> None:
        self.model, self.device = model, device
        self.inner: Any = _inner(model)
        self.head = plain_head(self.inner)
        self.virtual = virtual_count(model)
        self.way: Way = way or "own"
        self.notes: list[str] = []
        self._windows: set[int | None] = set()
        self._longest = max(int(tokens.lengths.max(initial=0)), longest) + self.virtual
        ways: tuple[Way, ...] = ("packed", "padded") if packing else ("padded",)
        for candidate in ways if way is None else ():
            why = self._why_not(candidate, tokens)
            if not why:
                self.way = candidate
                return
            self.notes.append(f"no {candidate} batches of texts: {why}")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Return the context in which attention handles packed rows, also in backward passes."""
        if self.way != "packed":
            yield
            return
        config = self.inner.config.get_text_config()
        before = config._attn_implementation
        register()
        config._attn_implementation = NAME
        try:
            yield
        finally:
            config._attn_implementation = before

    def loss_sum(self, tokens: Tokens, indices: np.ndarray) -> torch.Tensor:
        """Return the loss of the trained tokens of `indices` in nats, summed, differentiable."""
        packed = pack(tokens, indices, self.virtual)
        targets = torch.from_numpy(packed.targets).to(self.device.name)
        if self.way == "own" or self.head is None:
            logits = self._logits(packed)
            return nn.functional.cross_entropy(logits, targets, reduction="sum")
        return target_loss(self._states(packed), _fresh(self.head, self.inner), targets)

    def scores(
        self, tokens: Tokens, indices: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return each trained token's loss, whether it was the most likely, and its sequence."""
        packed = pack(tokens, indices, self.virtual)
        targets = torch.from_numpy(packed.targets).to(self.device.name)
        if self.way == "own" or self.head is None:
            logits = self._logits(packed)
            losses = nn.functional.cross_entropy(logits, targets, reduction="none")
            hits = logits.argmax(dim=1) == targets
        else:
            states = self._states(packed)
            losses, hits = target_scores(states, _fresh(self.head, self.inner), targets)
        return losses.cpu().double().numpy(), hits.cpu().numpy(), packed.owners

    def _states(self, packed: PackedBatch) -> torch.Tensor:
        """Return the states ``[targets, hidden]`` that predict the trained tokens."""
        if self.way == "packed":
            return self._read_row(packed)[torch.from_numpy(packed.predicting).to(self.device.name)]
        return self._read_padded(packed)

    def _logits(self, packed: PackedBatch) -> torch.Tensor:
        """Return ``[targets, vocabulary]`` in fp32."""
        if self.way == "own":
            return self._read_padded(packed).float()
        logits: torch.Tensor = self.inner.get_output_embeddings()(self._states(packed)).float()
        return logits

    def _embed(self, packed: PackedBatch, ids: torch.Tensor) -> torch.Tensor:
        """Return ``[1, total, hidden]`` embeddings, including virtual tokens."""
        embedded: torch.Tensor = self.inner.get_input_embeddings()(ids)
        if not self.virtual:
            return embedded
        wrapped: Any = self.model
        prompt = wrapped.get_prompt(batch_size=1)[0].to(embedded.dtype)
        slots = torch.from_numpy(packed.slots).to(ids.device)
        times = len(packed.slots) // self.virtual
        return embedded.index_copy(1, slots, prompt.repeat(times, 1)[None])

    def _read_row(self, packed: PackedBatch) -> torch.Tensor:
        ids = torch.from_numpy(packed.ids).to(self.device.name)[None]
        rows = Rows.of(packed, ids.device)
        out = self.inner.get_decoder()(
            inputs_embeds=self._embed(packed, ids),
            position_ids=torch.from_numpy(packed.positions).to(ids.device)[None],
            use_cache=False,
            packed_rows=rows,
        )
        self._windows = rows.windows
        states: torch.Tensor = out.last_hidden_state[0]
        return states

    def _read_padded(self, packed: PackedBatch) -> torch.Tensor:
        """Return the predicting states of a padded batch (``own``: their logits)."""
        rows = Rows.of(packed, torch.device(self.device.name), as_one=True)
        ids = torch.from_numpy(packed.ids).to(self.device.name)[None]
        (group,) = rows.groups
        assert group.real is not None
        mask = torch.zeros(group.batch, group.width, dtype=torch.long, device=ids.device)
        mask.view(-1)[group.real] = 1
        inputs = {
            "inputs_embeds": pad(self._embed(packed, ids)[0], group),
            "attention_mask": mask,
            "position_ids": torch.arange(group.width, device=ids.device).expand_as(mask),
            "use_cache": False,
        }
        if self.way == "own":
            states = self.inner(**inputs).logits
        else:
            states = self.inner.get_decoder()(**inputs).last_hidden_state
        states = states.reshape(-1, states.shape[-1])
        at: torch.Tensor = states[group.real[torch.from_numpy(packed.predicting).to(ids.device)]]
        return at

    def _why_not(self, way: Way, tokens: Tokens) -> str:
        """Return why reading in this way differs from single texts; empty if it does not."""
        probe = _probe(tokens)
        # A wrapped model's parts may be in different modes.
        before, modes = self.way, [(m, m.training) for m in self.model.modules()]
        self.way = way
        self.model.eval()
        try:
            with torch.inference_mode(), self.device.autocast():
                single = self._plain_losses(probe)
                with self.reading():
                    losses, _, owners = self.scores(probe, np.arange(len(probe)))
            expected = np.concatenate([single[i] for i in dict.fromkeys(owners.tolist())])
            largest = float(np.abs(losses - expected).max())
            window = _window(self.inner.config.get_text_config())
        except Exception as error:
            return f"{type(error).__name__}: {str(error)[:200]}"
        finally:
            self.way = before
            for module, training in modes:
                module.training = training
        if largest > _TOLERANCE[self.device.precision]:
            return f"losses differ by {largest:.2g} nats"
        unseen = window is not None and window not in self._windows
        if way == "packed" and unseen and self._longest > (window or 0):
            # The probe is too short to show it: attention would reach further back than in
            # training.
            return (
                f"the model attends {window:,} tokens back without declaring it, and the longest "
                f"text has {self._longest:,}"
            )
        return ""

    def _plain_losses(self, probe: Tokens) -> list[np.ndarray]:
        """Return each sequence's losses by the model's own forward, one sequence at a time."""
        each = []
        for ids, trained in zip(probe.ids, probe.trained, strict=True):
            inputs = torch.from_numpy(ids.astype(np.int64)).to(self.device.name)[None]
            logits = self.model(input_ids=inputs, attention_mask=torch.ones_like(inputs)).logits
            logits = logits[0, self.virtual :].float()
            targets = np.flatnonzero(trained)
            losses = nn.functional.cross_entropy(
                logits[targets - 1], inputs[0, targets], reduction="none"
            )
            each.append(losses.cpu().double().numpy())
        return each


def _probe(tokens: Tokens) -> Tokens:
    """Return the beginnings of two sequences of different length, with all tokens trained."""
    long = np.flatnonzero(tokens.lengths >= _LONG_ENOUGH)[:2]
    if len(long) < 2:
        long = np.argsort(-tokens.lengths, kind="stable")[:2]
    rows = [tokens.ids[i][: _CHECKED_TOKENS - 16 * n] for n, i in enumerate(long)]
    ids = [row for row in rows if len(row) > 1]
    if len(ids) == 1:
        ids.append(ids[0][: max(2, len(ids[0]) // 2)])
    trained = [np.arange(len(row)) > 0 for row in ids]
    return Tokens(ids, trained, [], np.arange(len(ids)))


def _window(config: Any) -> int | None:
    """Return the smallest attention window in tokens; None: unlimited."""
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and all(kind == "full_attention" for kind in kinds):
        return None
    if getattr(config, "use_sliding_window", True) is False:
        return None
    sizes = (getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size"))
    return min((int(size) for size in sizes if size), default=None)


def _inner(model: nn.Module) -> Any:
    """Return the transformers model inside a method's wrapper."""
    from transformers import PreTrainedModel

    return next(m for m in model.modules() if isinstance(m, PreTrainedModel))


def _fresh(head: Head, inner: Any) -> Head:
    """Return the head with its current weights, which loading may have replaced."""
    linear = inner.get_output_embeddings()
    return Head(linear.weight, linear.bias, head.scale, head.cap)
