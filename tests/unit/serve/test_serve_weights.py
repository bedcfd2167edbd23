"""What several models have in common is held once, and changes no answer."""

import gc
import weakref
from typing import Any

import torch
from torch import nn

from tailorbird.models.embed import Embedder
from tailorbird.serve.shared_weights import SharedWeights


class Tuned(nn.Module):
    """A base with a small layer of its own."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.base = nn.Sequential(nn.Linear(96, 96), nn.Linear(96, 96))
        torch.manual_seed(seed)
        self.own = nn.Linear(96, 48)


def held(seed: int) -> Any:
    """Return an object of this package that holds a model, as loaded runs do."""
    holder = object.__new__(Embedder)
    holder.model = Tuned(seed)
    return holder


def test_equal_layers_are_one_and_others_stay_apart() -> None:
    weights, first, second = SharedWeights(), held(1), held(2)
    texts = torch.randn(5, 96)
    before = [one.model.own(one.model.base(texts)) for one in (first, second)]
    for one in (first, second):
        weights.share(one)
    assert first.model.base[0].weight is second.model.base[0].weight
    assert first.model.base[1].weight is second.model.base[1].weight
    assert first.model.base[0].weight is not first.model.base[1].weight
    assert first.model.own.weight is not second.model.own.weight
    assert weights.saved_bytes == 2 * 96 * 96 * 4
    after = [one.model.own(one.model.base(texts)) for one in (first, second)]
    for old, new in zip(before, after, strict=True):
        assert torch.equal(old, new)
    # Nearly equal is not equal.
    third = held(3)
    with torch.no_grad():
        third.model.base[0].weight[-1, -1] += 1e-6
    weights.share(third)
    assert third.model.base[0].weight is not first.model.base[0].weight
    assert third.model.base[1].weight is first.model.base[1].weight


def test_what_is_shared_goes_with_the_last_that_has_it() -> None:
    weights, first, second = SharedWeights(), held(1), held(2)
    for one in (first, second):
        weights.share(one)
    place = weakref.ref(first.model.base[0].weight)
    del first
    gc.collect()
    assert place() is not None
    third = held(3)
    weights.share(third)  # the first that had it is gone; those that have it share it still
    assert third.model.base[0].weight is second.model.base[0].weight
    del one, second, third
    gc.collect()
    assert place() is None


def test_weights_that_are_more_than_their_numbers_are_left_alone() -> None:
    class Scaled(nn.Parameter):
        pass

    weights, first, second = SharedWeights(), held(1), held(2)
    for one in (first, second):
        one.model.base[0]._parameters["weight"] = Scaled(one.model.base[0].weight.data)
        weights.share(one)
    assert first.model.base[0].weight is not second.model.base[0].weight
