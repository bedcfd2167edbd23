"""Token classification: a label for each word.

Outputs are ``[words, labels]``, sentence after sentence; truths ``[words, 2]`` hold the sentence
number and the class id of each word.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tailorbird.data.encode import Encoded, Text, encode_words, words_of
from tailorbird.metrics import classification as metrics, entities
from tailorbird.metrics.intervals import Groups, row_influences
from tailorbird.records import (
    TASKS,
    ArmReport,
    ClassScore,
    Example,
    Neighbour,
    Score,
    Split,
    Target,
)
from tailorbird.tasks.head_base import SMOOTHING, HeadTask, Runs, worst
from tailorbird.tasks.predictions import Tagged

if TYPE_CHECKING:
    from torch import nn

    from tailorbird.models.device import Device
    from tailorbird.models.head_logits import Model, Predicted
    from tailorbird.train.head_losses import LossSum
    from tailorbird.train.workloads import LabelWork


class TokenClassification(HeadTask):
    """Labels words; scored by entity if the labels mark entities."""

    spec = TASKS["tokens"]
    resembles = False
    constant_type = dict[str, Any]

    def truths(self, examples: Sequence[Example], target: Target) -> np.ndarray:
        """See `HeadTask.truths`."""
        index = {label: i for i, label in enumerate(target.labels)}
        pairs = [(i, index[label]) for i, e in enumerate(examples) for label in e.labels]
        return np.asarray(pairs, dtype=np.int64).reshape(-1, 2)

    def training_targets(self, examples: Sequence[Example], target: Target) -> np.ndarray:
        """Return the class id of each word."""
        return np.asarray(self.truths(examples, target)[:, 1])

    def quality(
        self, outputs: np.ndarray, truth: np.ndarray, target: Target
    ) -> tuple[float, float]:
        """Return entity F1, and minus the mean loss of a word."""
        sums = _counts(outputs, truth, target).sum(axis=0)[:, None]
        return float(entities.entity_f1(sums)[0]), -metrics.log_loss(outputs, truth[:, 1])

    def losses(self, outputs: np.ndarray, truth: np.ndarray, target: Target) -> np.ndarray:
        """Return each sentence's mean loss per word, in nats."""
        each = metrics.losses(outputs, truth[:, 1])
        _, places = np.unique(truth[:, 0], return_inverse=True)
        mean: np.ndarray = np.bincount(places, weights=each) / np.bincount(places)
        return mean

    def scores(
        self, runs: Runs, truth: np.ndarray, targets: Sequence[Target],
        groups: Groups | None = None,
    ) -> dict[str, Score]:  # fmt: skip
        """See `HeadTask.scores`."""
        return entities.score_all([_counts(run, truth, targets[0]) for run in runs], groups)

    def per_class(
        self, runs: Runs, truth: np.ndarray, targets: Sequence[Target]
    ) -> tuple[ClassScore, ...]:
        """Return the scores of each entity type."""
        types = entities.types_of(targets[0].labels)
        return entities.type_scores([_counts(run, truth, targets[0]) for run in runs], types)

    def headline_values(self, outputs: np.ndarray, truth: np.ndarray, target: Target) -> np.ndarray:
        """See `HeadTask.headline_values`: what entity F1 owes to the sentence."""
        return row_influences(_counts(outputs, truth, target), entities.entity_f1)

    def plain(self, example: Example, target: Target) -> Any:
        """See `HeadTask.plain`."""
        return list(example.labels)

    def row(self, outputs: np.ndarray, target: Target) -> dict[str, Any]:
        """Return each word's label and its probability."""
        return {
            "predicted": [target.labels[int(i)] for i in outputs.argmax(axis=1)],
            "confidence": [round(float(x), 6) for x in outputs.max(axis=1)],
        }

    def prediction(
        self, outputs: np.ndarray, target: Target, neighbours: tuple[Neighbour, ...], text: Text
    ) -> Tagged:
        """See `HeadTask.prediction`."""
        words = words_of(text)
        labels = tuple(target.labels[int(i)] for i in outputs.argmax(axis=1))
        spans: list[dict[str, str | int]] = [
            {"type": e.type, "text": " ".join(words[e.first : e.last + 1])}
            | {"first": e.first, "last": e.last}
            for e in (
                entities.entities(labels) if entities.have_entity_marks(target.labels) else []
            )
        ]
        return Tagged(words, labels, tuple(map(float, outputs.max(axis=1))), tuple(spans))

    def errors(
        self, report: ArmReport, outputs: np.ndarray, truth: np.ndarray,
        examples: Sequence[Example], target: Target,
    ) -> ArmReport:  # fmt: skip
        """Return the sentences with a wrong word, the highest loss first."""
        labels = _by_sentence(outputs.argmax(axis=1), truth, target)
        errors = worst(
            examples,
            self.losses(outputs, truth, target),
            lambda i: labels[i] != list(examples[i].labels),
            lambda i: entities_text(examples[i].words, examples[i].labels, target),
            lambda i: entities_text(examples[i].words, labels[i], target),
        )
        return replace(report, errors=errors)

    def encode(
        self, texts: Sequence[Text], tokenizer: Any, model: "nn.Module", limit: int,
        target: Target, targets: np.ndarray | None = None,
    ) -> Encoded:  # fmt: skip
        """Return the encoded words."""
        from tailorbird.models.generation_inputs import check_ids

        encoded = encode_words(texts, tokenizer, limit, targets)
        check_ids(model, encoded.ids)
        return encoded

    def predict(
        self, model: "Model", encoded: Encoded, pad: int, device: "Device", target: Target,
        title: str = "",
    ) -> "Predicted":  # fmt: skip
        """Return the model's logits, one row per word."""
        from tailorbird.models.head_logits import predict_words

        outside = target.labels.index("O") if "O" in target.labels else 0
        return predict_words(model, encoded, pad, device, title, outside)

    def work(
        self, train: Encoded, pad: int, device: "Device", size: int, loss: "LossSum"
    ) -> "LabelWork":
        """See `HeadTask.work`."""
        from tailorbird.train.workloads import TokenWork

        return TokenWork(train, pad, device, size, loss)

    def by_text(self, outputs: np.ndarray, texts: Sequence[Any]) -> list[np.ndarray]:
        """Return the outputs of each text, one row per word."""
        return np.split(outputs, np.cumsum([len(words) for words in texts])[:-1])

    def constant(self, split: Split, target: Target) -> dict[str, Any]:
        """Return each word's most frequent training label, regardless of context."""
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for example in split.train:
            for word, label in zip(example.words, example.labels, strict=True):
                counts[word][label] += 1
        every = sum(counts.values(), Counter())
        return {
            "other": every.most_common(1)[0][0],
            "words": {word: labels.most_common(1)[0][0] for word, labels in counts.items()},
        }

    def constant_fault(self, constant: Mapping[str, Any], target: Target) -> str:
        """See `HeadTask.constant_fault`."""
        words, other = constant.get("words"), constant.get("other")
        if set(constant) != {"words", "other"} or not isinstance(words, dict):
            return "it is not a table of words and their labels"
        strange = [label for label in (other, *words.values()) if label not in target.labels]
        return "it has a label that the run does not have" if strange else ""

    def constant_outputs(
        self, constant: Mapping[str, Any], texts: Sequence[Text], target: Target
    ) -> np.ndarray:
        """Return nearly all probability on the word's known label."""
        index = {label: i for i, label in enumerate(target.labels)}
        labels, other = constant["words"], constant["other"]
        ids = [index[labels.get(word, other)] for text in texts for word in words_of(text)]
        outputs = np.full((len(ids), len(index)), SMOOTHING / len(index), dtype=np.float32)
        outputs[np.arange(len(ids)), ids] += 1 - SMOOTHING
        return outputs

    def fit_linear(
        self, x: np.ndarray, y: np.ndarray, c: float = 1.0, **how: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Raise: the vector of a whole text has no label for one word."""
        raise NotImplementedError("every word has a label, and a vector stands for a whole text")


TASK = TokenClassification()


def _by_sentence(ids: np.ndarray, truth: np.ndarray, target: Target) -> list[list[str]]:
    cuts = np.flatnonzero(np.diff(truth[:, 0])) + 1
    names = np.asarray(target.labels, dtype=object)
    return [list(part) for part in np.split(names[ids], cuts)]


def _counts(outputs: np.ndarray, truth: np.ndarray, target: Target) -> np.ndarray:
    """Return each sentence's contribution to the counts; see `entities.counts_of`."""
    answers, right = (
        _by_sentence(ids, truth, target) for ids in (outputs.argmax(axis=1), truth[:, 1])
    )
    types = entities.types_of(target.labels)
    return entities.counts_of(answers, right, types, entities.have_entity_marks(target.labels))


def entities_text(words: Sequence[str], labels: Sequence[str], target: Target) -> str:
    """Format a sentence's entities: ``Angela Merkel (PER); Berlin (LOC)``."""
    if not entities.have_entity_marks(target.labels):
        return " ".join(f"{word}/{label}" for word, label in zip(words, labels, strict=True))
    spans = entities.entities(labels)
    texts = [f"{' '.join(words[e.first : e.last + 1])} ({e.type})" for e in spans]
    return "; ".join(texts) or "no entity"
