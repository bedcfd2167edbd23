"""Initialises a classifier's head with a linear probe.

A new head is random, and while it learns, its gradients distort good features. Fitting it first, by
logistic regression on the base model's features, preserves them (Kumar et al. 2022, "Fine-Tuning
can Distort Pretrained Features", arXiv 2202.10054, §4) and saves epochs, more with more classes.
"""

import time

import numpy as np
import torch
from torch import nn

from tailorbird import log
from tailorbird.data.encode import Encoded, collate, token_batches
from tailorbird.models.device import Device
from tailorbird.models.linear_fit import fit_classes, fit_labels, fit_values
from tailorbird.records import TASKS, TaskName

MOST_EXAMPLES = 20_000
_TOKENS_PER_BATCH = 4096


def start_head(
    model: nn.Module,
    train: Encoded,
    pad_id: int,
    device: Device,
    classes: int,
    task: TaskName = "classification",
) -> float:
    """Fit the head of `model` in place; return the seconds taken (0: nothing to fit).

    Args:
        model: A classifier whose last linear layer of `classes` outputs is trainable.
        train: The training examples, of which at most 20,000 random ones are used.
        task: Selects logistic regression for classes, one per label, or ridge for numbers.
    """
    assert train.targets is not None
    started = time.monotonic()
    head = _head(model, classes)
    rng = np.random.default_rng(0)
    picks = np.sort(rng.permutation(len(train))[:MOST_EXAMPLES])
    targets = train.targets[picks]
    if head is None or (TASKS[task].one_label and len(np.unique(targets)) < classes):
        return 0.0
    features = _features(model, head, train, picks, pad_id, device)
    weights, bias = fit_head(features, targets, task, intercept=head.bias is not None)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weights))
        if head.bias is not None:
            head.bias.copy_(torch.from_numpy(bias))
    return time.monotonic() - started


def fit_head(
    features: np.ndarray, targets: np.ndarray, task: TaskName, *, intercept: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights ``[outputs, width]`` and intercepts; see `start_head`.

    Args:
        features: ``[n, width]``.
        targets: ``[n]`` classes, or ``[n, outputs]``.
        intercept: Whether classes have one; labels and numbers do.
    """
    if TASKS[task].one_label:
        return fit_classes(features, targets, max_iter=500, fit_intercept=intercept)
    return (fit_labels if TASKS[task].several_labels else fit_values)(features, targets)


def _head(model: nn.Module, classes: int) -> nn.Linear | None:
    """Return the last trainable linear layer with one output per class."""
    heads = [
        module
        for module in model.modules()
        if isinstance(module, nn.Linear)
        and module.out_features == classes
        and module.weight.requires_grad
    ]
    return heads[-1] if heads else None


def _features(
    model: nn.Module,
    head: nn.Linear,
    train: Encoded,
    picks: np.ndarray,
    pad_id: int,
    device: Device,
) -> np.ndarray:
    """Return the head's input for each selected example: ``[n, features]`` float32."""
    features = np.empty((len(picks), head.in_features), dtype=np.float32)
    inputs_of_head: list[torch.Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, states: inputs_of_head.append(states[0]))
    model.eval()
    try:
        with (
            log.quiet_progress("fitting the head", len(picks), "examples") as bar,
            torch.inference_mode(),
            device.autocast(),
        ):
            for indices in token_batches(train.lengths[picks], _TOKENS_PER_BATCH):
                inputs_of_head.clear()
                arrays = collate(train, picks[indices], pad_id)
                inputs = {k: torch.from_numpy(v).to(device.name) for k, v in arrays.items()}
                model(**inputs)
                features[indices] = _per_example(inputs_of_head[-1], inputs["attention_mask"])
                bar.advance(len(indices))
    finally:
        hook.remove()
    return features


def _per_example(states: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
    """Return ``[batch, features]``; a decoder's head reads the last token."""
    if states.ndim == 3:
        # Virtual tokens precede the text and are not in the mask.
        last = states.shape[1] - mask.shape[1] + mask.sum(dim=1) - 1
        states = states[torch.arange(len(states), device=states.device), last]
    features: np.ndarray = states.float().cpu().numpy()
    return features
