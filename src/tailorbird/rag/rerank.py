"""Cross-encoders, which read question and text together and score the pair."""

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np

from tailorbird import log
from tailorbird.config.schema import ModelConfig
from tailorbird.data.encode import token_batches
from tailorbird.errors import UserError
from tailorbird.models.builtin import resolve
from tailorbird.models.device import Device
from tailorbird.models.generation_inputs import check_ids
from tailorbird.models.load import length_limit, load_tokenizer
from tailorbird.models.weights import pretrained

_TOKENS_PER_BATCH = {"cpu": 2048}
_TOKENS_PER_BATCH_GPU = 32_768


class Reranker:
    """A sequence classifier with one output (or two: not relevant, relevant).

    Raises:
        UserError: It cannot be loaded, or is not a cross-encoder.
    """

    def __init__(self, config: ModelConfig, device: Device) -> None:
        from transformers import AutoModelForSequenceClassification

        self.name, self.device = config.name, device
        self.tokenizer = load_tokenizer(config)
        self._encoding = Lock()  # truncation changes the tokenizer's state
        kind = AutoModelForSequenceClassification
        self.model, info = pretrained(kind, resolve(config.name), config, dtype="float32")
        outputs = int(self.model.config.num_labels)
        if info["missing_keys"] or outputs > 2:
            why = (
                f"has no weights for {sorted(info['missing_keys'])[0]}"
                if info["missing_keys"]
                else f"has {outputs} outputs"
            )
            raise UserError(
                f"{config.name} {why}: it is not a cross-encoder",
                "give one with one output, e.g. cross-encoder/ms-marco-MiniLM-L6-v2",
            )
        self.model.to(device.name).eval().requires_grad_(False)
        self.max_length = min(length_limit(self.tokenizer, self.model.config), 512)

    def score(self, question: str, texts: Sequence[str]) -> np.ndarray:
        """Return the relevance of each text to the question ``[n]``, from 0 to 1."""
        return self.score_pairs([(question, text) for text in texts])

    def score_pairs(self, pairs: Sequence[tuple[str, str]], title: str = "") -> np.ndarray:
        """Return the scores of (question, text) pairs ``[n]``, float64, from 0 to 1."""
        import torch

        scores = np.zeros(len(pairs))
        if not pairs:
            return scores
        # Only the text is truncated: a question without its end is another question.
        with self._encoding:
            encoded: Any = self.tokenizer(
                [question for question, _ in pairs],
                [text for _, text in pairs],
                truncation="only_second" if self._questions_fit(pairs) else True,
                max_length=self.max_length,
            )
        check_ids(self.model, [np.asarray(row) for row in encoded["input_ids"]])
        lengths = np.asarray([len(row) for row in encoded["input_ids"]], dtype=np.int64)
        most = _TOKENS_PER_BATCH.get(self.device.kind, _TOKENS_PER_BATCH_GPU)
        with log.quiet_progress(title, len(pairs), "pairs") as bar:
            for indices in token_batches(lengths, most):
                rows = {key: [encoded[key][i] for i in indices] for key in encoded}
                batch = self.tokenizer.pad(rows, return_tensors="pt").to(self.device.name)
                with torch.inference_mode(), self.device.autocast():
                    logits = self.model(**batch).logits.double()
                single = logits.shape[1] == 1
                chances = logits[:, 0].sigmoid() if single else logits.softmax(1)[:, 1]
                scores[indices] = chances.cpu().numpy()
                bar.advance(len(indices))
        return scores

    def _questions_fit(self, pairs: Sequence[tuple[str, str]]) -> bool:
        questions = self.tokenizer(sorted({question for question, _ in pairs}))["input_ids"]
        return max(map(len, questions)) < self.max_length - 4
