"""Sequences read end to end in one row, each blind to the others.

Only attention knows where a sequence begins; every other layer looks at one token at a time. So
the tokens of many texts are laid in one row without padding, and attention alone puts texts of
similar length beside each other and reads them left to right: no mask, no wasted products, the
fused kernels of the machine. Whether a model takes this exactly as it takes single texts is asked
of the model itself before it is used (`Reader`); one that does not is read padded, and one whose
head does more than we know of makes its own logits.
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
from tailorbird.models.device import Device
from tailorbird.models.packed_attention import NAME, Rows, pad, register
from tailorbird.models.target_loss import Head, plain_head, target_loss, target_scores

# Rounding may differ between one order of sums and another by about this, in nats.
_TOLERANCE = {"fp32": 1e-3, "bf16": 0.15, "fp16": 0.05}
_TOKENS_AT_ONCE = {"cpu": 1024}
_TOKENS_AT_ONCE_GPU = 16384
_CHECKED_TOKENS, _LONG_ENOUGH = 48, 16


def tokens_at_once(device: Device) -> int:
    """Return how many tokens a forward pass takes by default."""
    return _TOKENS_AT_ONCE.get(device.kind, _TOKENS_AT_ONCE_GPU)


@dataclass(frozen=True)
class SequenceLosses:
    """How well a model would have written each sequence's trained tokens.

    Attributes:
        loss_sums: ``[n]`` float64 nats, summed over the trained tokens.
        counts: ``[n]`` trained tokens.
        hits: ``[n]`` trained tokens that were the likeliest.
    """

    loss_sums: np.ndarray
    counts: np.ndarray
    hits: np.ndarray

    def take(self, indices: np.ndarray) -> "SequenceLosses":
        """Return those of the sequences at `indices`."""
        return SequenceLosses(self.loss_sums[indices], self.counts[indices], self.hits[indices])

    @property
    def per_token(self) -> float:
        """Mean loss in nats per trained token."""
        return float(self.loss_sums.sum() / max(1, self.counts.sum()))

    @property
    def accuracy(self) -> float:
        """Share of trained tokens that were the likeliest."""
        return float(self.hits.sum() / max(1, self.counts.sum()))


def sequence_losses(
    model: "nn.Module | Reader",
    tokens: Tokens,
    device: Device,
    title: str = "",
    packing: bool = True,
) -> SequenceLosses:
    """Return the losses of every sequence; the model is in evaluation mode."""
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
    """Reads sequences with one model, in the fastest way that gives what single texts give.

    Args:
        model: A causal language model, or one wrapped by a method.
        packing: Whether sequences may be laid end to end.
        longest: Tokens of the longest other sequence that it will read.
        way: Read in this way without asking the model (of tensors without values).

    Attributes:
        virtual: Virtual tokens that the model puts before each sequence (prompt tuning).
        way: ``packed``: end to end. ``padded``: a padded batch, and only the trained tokens'
            logits. ``own``: a padded batch through the model's own forward, with all logits.
        notes: Why the ways before it are not taken, in words.
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
        self.virtual = _virtual_tokens(model)
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
            self.notes.append(f"texts are not read {candidate}: {why}")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let attention read packed rows, backward passes included."""
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
        """Return the trained tokens' losses, whether each was the likeliest, and its sequence."""
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
        """Return ``[1, total, hidden]`` embeddings, the virtual tokens' among them."""
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
        """Return, of a padded batch, the predicting places' states (``own``: their logits)."""
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
        """Return an empty string when reading in this way gives what single reading gives."""
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
            expected = np.concatenate([single[i] for i in _runs(owners)])
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
            # The probe is too short to see it: attention would look back further than it learnt to.
            return (
                f"the model looks {window:,} tokens back, its attention does not say so, and the "
                f"longest text has {self._longest:,}"
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
    """Return the beginnings of two sequences of different length, all their tokens trained."""
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
    """Return how many tokens back some layer looks at most; None: all look to the beginning."""
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and all(kind == "full_attention" for kind in kinds):
        return None
    if getattr(config, "use_sliding_window", True) is False:
        return None
    sizes = (getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size"))
    return min((int(size) for size in sizes if size), default=None)


def _runs(owners: np.ndarray) -> list[int]:
    return list(dict.fromkeys(owners.tolist()))


def _inner(model: nn.Module) -> Any:
    """Return the transformers model inside what a method made of it."""
    from transformers import PreTrainedModel

    return next(m for m in model.modules() if isinstance(m, PreTrainedModel))


def _virtual_tokens(model: nn.Module) -> int:
    config = getattr(model, "peft_config", {}).get("default")
    return int(getattr(config, "num_virtual_tokens", 0) or 0)


def _fresh(head: Head, inner: Any) -> Head:
    """Return the head with its weights as they are now: loading may have replaced them."""
    linear = inner.get_output_embeddings()
    return Head(linear.weight, linear.bias, head.scale, head.cap)
