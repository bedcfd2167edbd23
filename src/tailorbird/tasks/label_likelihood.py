"""Classification with a generative model: the most likely label.

A label's probability is that of all its tokens *and of the end of the turn after them*. Those are
probabilities of complete, mutually exclusive answers and thus comparable. Without the end they
would not be: "in" would be at least as likely as "interesting", and dividing by the number of
tokens, the usual remedy, favours labels whose later tokens follow from the first. What remains is
surface form competition (Holtzman et al. 2021, arXiv 2104.08315): an untuned model spreads its
probability unevenly over synonyms of a label. A model tuned on the labels does not; for the base
model it is a real weakness of this score.
"""

from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import nn

from tailorbird import log
from tailorbird.data.encode import token_batches
from tailorbird.data.tokens import Tokens
from tailorbird.models.device import Device
from tailorbird.models.generation_inputs import left_padded, ready_to_generate
from tailorbird.models.packed import sequence_losses

_TOKENS_PER_BATCH = 4096


def label_endings(
    tokens: Tokens, references: Sequence[str], labels: Sequence[str]
) -> tuple[np.ndarray, ...]:
    """Return the tokens of each label in the training sequences, including the end of the turn.

    They come from the sequences, not the tokenizer: tokenisation depends on the preceding text, and
    the end of a turn on the template.
    """
    counts: dict[str, Counter[tuple[int, ...]]] = {label: Counter() for label in labels}
    rows = zip(tokens.ids, tokens.trained, tokens.prompts, references, strict=True)
    for ids, trained, prompt, reference in rows:
        label = reference.strip()
        end = int(np.flatnonzero(trained).max(initial=-1)) + 1
        if label in counts and end > len(prompt):
            counts[label][tuple(ids[len(prompt) : end].tolist())] += 1
    # The most common, since a truncated sequence lacks its end.
    return tuple(np.asarray(counts[label].most_common(1)[0][0], dtype=np.int64) for label in labels)


def choose_labels(
    model: nn.Module,
    tokenizer: Any,
    prompts: Sequence[np.ndarray],
    endings: Sequence[np.ndarray],
    device: Device,
    title: str = "",
) -> np.ndarray:
    """Return the log-probability of each label after each prompt ``[n, labels]``, in nats.

    A prompt is read once; all labels share its keys and values.

    Args:
        endings: Each label's token ids with the end of the turn, see `label_endings`.
    """
    scores = np.zeros((len(prompts), len(endings)))
    pad_id = int(tokenizer.pad_token_id or 0)
    lengths = np.asarray([len(prompt) for prompt in prompts], dtype=np.int64)
    quiet = log.quiet_progress(title, len(prompts), "prompts")
    with quiet as bar, ready_to_generate(model) as inner, torch.no_grad(), device.autocast():
        for indices in token_batches(lengths, _TOKENS_PER_BATCH):
            batch = [prompts[i] for i in indices]
            inputs = left_padded(model, batch, pad_id, device)
            read = _read(inner, inputs, inputs["attention_mask"], None)
            if getattr(read, "past_key_values", None) is None:
                scores[indices] = _one_by_one(model, batch, endings, device)
            else:
                for column, ending in enumerate(endings):
                    scores[indices, column] = _follow(inner, read, inputs, ending)
            bar.advance(len(indices))
    return scores


def _read(inner: Any, inputs: dict[str, Any], mask: torch.Tensor, past: Any) -> Any:
    """Run the model on `inputs`, the last part of `mask` ``[batch, seq so far]``."""
    parameters = signature(inner.forward).parameters
    arguments = {k: v for k, v in inputs.items() if k != "attention_mask"}
    if "position_ids" in parameters:
        width = next(iter(arguments.values())).shape[1]
        arguments["position_ids"] = (mask.cumsum(dim=-1) - 1).clamp_(min=0)[:, -width:]
    if past is None and "logits_to_keep" in parameters:
        arguments["logits_to_keep"] = 1
    return inner(**arguments, attention_mask=mask, past_key_values=past, use_cache=True)


def _follow(inner: Any, read: Any, inputs: dict[str, Any], ending: np.ndarray) -> np.ndarray:
    """Return the log-probability ``[batch]`` of `ending` after the prompts in the cache."""
    mask = inputs["attention_mask"]
    ids = torch.from_numpy(ending).to(mask.device).expand(len(mask), -1)
    logits = read.logits[:, -1:]
    if len(ending) > 1:
        # A copy, since the model appends to the cache; any kind of cache can be copied.
        longer = torch.cat((mask, torch.ones_like(ids[:, :-1])), dim=1)
        after = _read(inner, {"input_ids": ids[:, :-1]}, longer, deepcopy(read.past_key_values))
        logits = torch.cat((logits, after.logits), dim=1)
    chances = torch.log_softmax(logits.float(), dim=-1).gather(2, ids[..., None])
    total: np.ndarray = chances.squeeze(2).sum(dim=1).cpu().numpy()
    return total


def _one_by_one(
    model: nn.Module, prompts: Sequence[np.ndarray], endings: Sequence[np.ndarray], device: Device
) -> np.ndarray:
    """Do the same for a model without a key-value cache, reading the prompt for each label."""
    pairs = [(prompt, ending) for prompt in prompts for ending in endings]
    tokens = Tokens(
        ids=[np.concatenate([prompt, ending]) for prompt, ending in pairs],
        trained=[np.repeat([False, True], [len(p), len(e)]) for p, e in pairs],
        prompts=[prompt for prompt, _ in pairs],
        rows=np.arange(len(pairs)),
    )
    sums: np.ndarray = -sequence_losses(model, tokens, device).loss_sums
    return sums.reshape(len(prompts), len(endings))
