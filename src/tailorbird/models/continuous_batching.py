"""Continuous batching: answers of one batch that start and end at different times.

Rows join between two tokens: their prompts are read together, and their keys and values are added
to the running batch, padded on the left. A row leaves as soon as it is complete (Orca, Yu et al.,
OSDI 2022, iteration-level scheduling). `generate` batches prompts that are known in advance; this
serves prompts that arrive at any time.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tailorbird.errors import UserError
from tailorbird.models.device import Device
from tailorbird.models.generate import Sampling, rows_of, warpers
from tailorbird.models.generation_inputs import base_of, context_length, left_padded
from tailorbird.models.stopping_and_sampling import AnswerRow, TokenOdds, draw_tokens

if TYPE_CHECKING:
    import torch
    from torch import nn

# Shared padding of this many columns is worth a copy of all keys and values.
_TRIM = 32


def make_row(
    model: "nn.Module", tokenizer: Any, prompt: np.ndarray, sampling: Sampling
) -> AnswerRow:
    """Return the answer row of one prompt, with the draws of `generate` for a first prompt.

    Raises:
        UserError: The prompt is empty or leaves no room for an answer.
    """
    context = context_length(model) or np.inf
    if not 0 < len(prompt) < context:
        why = f"has {len(prompt):,} tokens and the model reads at most {context:,}"
        raise UserError(
            f"the conversation {why}: no room for an answer"
            if len(prompt)
            else "the prompt is empty",
            "shorten it" if len(prompt) else "give at least one word",
        )
    return rows_of(model, tokenizer, [prompt], sampling)[0]


class RunningBatch:
    """Rows of one model that are generated at the same time.

    Args:
        model: Plain, wrapped by PEFT, or with adapters; in evaluation mode.
    """

    def __init__(self, model: "nn.Module", device: Device) -> None:
        self._model, self._device = model, device
        self._inner = base_of(model)
        self._cache: Any = None
        self._mask: torch.Tensor | None = None
        self._warpers: list[list[Any]] = []
        self.rows: list[AnswerRow] = []

    @property
    def possible(self) -> bool:
        """Whether the model's cache can be padded: keys and values of every token."""
        return not getattr(self._inner, "_is_stateful", False)

    def join(self, *pairs: tuple[AnswerRow, Sampling]) -> None:
        """Read rows' prompts, generate their first tokens, and add them to the batch."""
        import torch
        from transformers import DynamicCache

        rows = [row for row, _ in pairs]
        pad = int(rows[0].ending.tokenizer.pad_token_id or 0)
        inputs = left_padded(self._model, [row.ids for row in rows], pad, self._device)
        cache, mask = DynamicCache(), inputs["attention_mask"]
        places = (mask.cumsum(dim=1) - 1).clamp(min=0)
        with torch.no_grad(), self._device.autocast():
            scores = self._inner(
                **inputs, position_ids=places, past_key_values=cache, use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1].float()  # fmt: skip
        shapes = [warpers(s, self._device) if s.temperature > 0 else [] for _, s in pairs]
        self._take(rows, shapes, None, scores)
        self._put_beside(cache, mask)
        self.rows += rows
        self._warpers += shapes
        self._leave()

    def step(self) -> None:
        """Generate one token of every row; complete rows leave."""
        import torch

        from tailorbird.models.fast_decoding import fast_attention

        self._leave()
        if not self.rows:
            return
        assert self._mask is not None
        last = torch.tensor([[row.tokens[-1]] for row in self.rows], device=self._device.name)
        self._mask = torch.nn.functional.pad(self._mask, (0, 1), value=1)
        places = self._mask.sum(dim=1, keepdim=True) - 1
        fast = fast_attention(self._inner, self._device)
        with torch.no_grad(), self._device.autocast(), fast:
            scores = self._inner(
                input_ids=last, attention_mask=self._mask, position_ids=places,
                past_key_values=self._cache, use_cache=True,
            ).logits[:, -1].float()  # fmt: skip
        self._take(self.rows, self._warpers, None, scores)
        self._leave()

    def _take(
        self,
        rows: Sequence[AnswerRow],
        shapes: Sequence[list[Any]],
        ids: Any,
        scores: "torch.Tensor",
    ) -> None:
        """Choose each row's token: the most likely one, or drawn by the row's own numbers."""
        tokens = scores.argmax(dim=-1)
        for i, (row, shape) in enumerate(zip(rows, shapes, strict=True)):
            if shape:
                tokens[i] = draw_tokens([row], shape, ids, scores[i : i + 1], [len(row.tokens)])[0]
        for i, (row, token) in enumerate(zip(rows, tokens.tolist(), strict=True)):
            if row.top is not None and not row.done:
                row.odds.append(_odds(scores[i], token, row.top))
            row.take(token)

    def _put_beside(self, cache: Any, mask: "torch.Tensor") -> None:
        import torch

        if self._mask is None:
            self._cache, self._mask = cache, mask
            return
        width = max(self._mask.shape[1], mask.shape[1])
        wider = [torch.nn.functional.pad(m, (width - m.shape[1], 0)) for m in (self._mask, mask)]
        self._mask = torch.cat(wider)
        for own, other in zip(self._cache.layers, cache.layers, strict=True):
            for name in ("keys", "values"):
                parts = [getattr(own, name), getattr(other, name)]
                parts = [torch.nn.functional.pad(p, (0, 0, width - p.shape[-2], 0)) for p in parts]
                setattr(own, name, torch.cat(parts))

    def _leave(self) -> None:
        """Remove complete rows, and padding that all rows share."""
        staying = [i for i, row in enumerate(self.rows) if not row.done]
        if not staying:
            self.rows, self._warpers, self._cache, self._mask = [], [], None, None
            return
        assert self._mask is not None
        fewer = len(staying) < len(self.rows)
        mask = self._mask[staying] if fewer else self._mask
        shared = int(mask.argmax(dim=1).min())
        start = shared if shared >= _TRIM else 0
        if not (fewer or start):
            return
        self._mask = mask[:, start:]
        for layer in self._cache.layers:
            for name in ("keys", "values"):
                states = getattr(layer, name)[staying] if fewer else getattr(layer, name)
                setattr(layer, name, states[..., start:, :])
        self.rows = [self.rows[i] for i in staying]
        self._warpers = [self._warpers[i] for i in staying]


def _odds(scores: "torch.Tensor", token: int, top: int) -> TokenOdds:
    """Return a token's log-probability by its scores ``[vocabulary]``."""
    import torch

    logs = torch.log_softmax(scores, dim=-1)
    best = logs.topk(top)
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return TokenOdds(token, float(logs[token]), tuple(pairs))
