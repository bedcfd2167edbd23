"""Sentences with a label per word, as the loop reads them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import nn

from tailorbird.train.label_workload import LabelWork


@dataclass(frozen=True)
class TokenWork(LabelWork):
    """The workload of token classification: the loss is a mean over words.

    A word's label is learnt at its first token; the others of the word are read and not learnt.
    """

    @cached_property
    def starts(self) -> np.ndarray:
        """``[n + 1]``: where each sentence's words begin among all words."""
        assert self.train.firsts is not None
        return np.cumsum([0, *map(len, self.train.firsts)])

    def weight(self, indices: np.ndarray) -> float:
        """Return how many labelled words there are."""
        assert self.train.firsts is not None
        return float(max(1, sum(int((self.train.firsts[i] >= 0).sum()) for i in indices)))

    def loss_sum(self, model: nn.Module, indices: np.ndarray) -> torch.Tensor:
        """Return the summed loss of the words."""
        assert self.train.targets is not None and self.train.firsts is not None
        inputs = self.inputs(indices)
        logits = model(**inputs).logits.float()
        # Virtual tokens stand before the text.
        logits = logits[:, logits.shape[1] - inputs["input_ids"].shape[1] :]
        firsts = [self.train.firsts[i] for i in indices]
        labelled = [np.flatnonzero(each >= 0) for each in firsts]
        rows = np.concatenate([np.full(len(words), row) for row, words in enumerate(labelled)])
        columns = np.concatenate([p[words] for p, words in zip(firsts, labelled, strict=True)])
        places = [self.starts[i] + words for i, words in zip(indices, labelled, strict=True)]
        targets = self.train.targets[np.concatenate(places)]
        picked = logits[torch.from_numpy(rows), torch.from_numpy(columns)]
        return self.loss(picked, torch.from_numpy(targets).to(self.device.name))
