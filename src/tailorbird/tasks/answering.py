"""A model that answers in words, and what it says of a text outside its task."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tailorbird.config import Config
from tailorbird.data.sources import tutor_folder
from tailorbird.data.tokens import Tokens
from tailorbird.errors import UserError
from tailorbird.models.device import Device
from tailorbird.models.generate import Sampling, generate, sampling_of
from tailorbird.models.inputs import check_ids
from tailorbird.models.load import length_limit
from tailorbird.models.packed import SequenceLosses, sequence_losses
from tailorbird.records import Forgetting
from tailorbird.runs.folder import RunFolder
from tailorbird.tasks.answers import AnswerScores, answer_all
from tailorbird.tasks.forgetting import reference_loss, window_length
from tailorbird.tasks.test_set import WritingTest

if TYPE_CHECKING:
    from torch import nn

_CHECKED_TOKENS = 64
_REFERENCE = "cache/reference.json"


@dataclass(frozen=True)
class Answering:
    """A model that can be asked.

    Attributes:
        limit: Tokens of a sequence at most.
        notes: What a person should know of the model.
    """

    model: "nn.Module"
    tokenizer: Any
    device: Device
    limit: int
    config: Config
    notes: tuple[str, ...] = ()

    @property
    def reads(self) -> int:
        """Tokens that the base model reads at most."""
        return length_limit(self.tokenizer, self.model.config)

    def sampling(self, max_new_tokens: int) -> Sampling:
        """Return how answers are written."""
        return sampling_of(self.config.generate, max_new_tokens, self.ends)

    @property
    def ends(self) -> tuple[int, ...]:
        """Tokens that end an answer."""
        from tailorbird.data.template import end_of_turn

        generation: Any = self.model.generation_config
        known = generation.eos_token_id
        listed = [known] if isinstance(known, int) else list(known or [])
        return tuple(dict.fromkeys([end_of_turn(self.tokenizer), *listed]))

    def losses(self, tokens: Tokens, title: str = "") -> SequenceLosses:
        """Return the losses of sequences."""
        check_ids(self.model, tokens.ids)
        packing = self.config.train.packing
        return sequence_losses(self.model, tokens, self.device, title, packing)

    def answers(
        self, test: WritingTest, title: str = "", losses: SequenceLosses | None = None
    ) -> AnswerScores:
        """Answer every question of the test.

        Args:
            test: The questions.
            title: Of the progress bar.
            losses: Of the test's test sequences, where they are known already.
        """
        assert test.scoring is not None
        known = None
        if losses is not None:
            places = {int(row): i for i, row in enumerate(test.sequences.rows)}
            known = losses.take(np.asarray([places[int(r)] for r in test.questions.tokens.rows]))
        sampling = self.sampling(test.max_new_tokens)
        return answer_all(
            self.model, self.tokenizer, test.questions, test.scoring, sampling, self.device, title,
            known,
        )  # fmt: skip

    def check(self, prompts: Sequence[np.ndarray], longest: int) -> tuple[str, ...]:
        """Return the beginnings of the answers to a few prompts, greedily."""
        if not prompts:
            return ()
        sampling = Sampling(min(longest, _CHECKED_TOKENS), end_ids=self.ends)
        found = generate(self.model, self.tokenizer, prompts, sampling, self.device)
        return tuple(written.text for written in found)

    def reference_loss(self, text: tuple[str, str], window: int) -> Forgetting:
        """Return the loss on a text outside the task, as it is before and for now after."""
        value, count = reference_loss(self.model, self.tokenizer, text[1], self.device, window)
        return Forgetting(value, value, count, text[0])


def reference_text(config: Config) -> tuple[str, str]:
    """Return the name and the text that show what was forgotten.

    Raises:
        UserError: The file named in `evaluate.reference` cannot be read.
    """
    from tailorbird.data.textfile import read_text

    if config.evaluate.reference is not None:
        path = Path(config.evaluate.reference)
        if not path.is_file():
            raise UserError(
                f"evaluate.reference names {path}, which is no file", "give a text file"
            )
        return path.name, read_text(path)
    folder = tutor_folder()
    pages = sorted((folder / "pages").glob("*.md")) if folder else []
    text = "\n\n".join(page.read_text(encoding="utf-8") for page in pages)
    return "pages on Python's errors that come with tailorbird", text


@dataclass(frozen=True)
class Reference:
    """The loss on the reference text before training, and in windows of how many tokens."""

    before: Forgetting
    window: int

    @classmethod
    def of(cls, answering: Answering, run: RunFolder) -> "Reference":
        """Read it with the untouched model, or take what another arm of the run found with it."""
        model: Any = answering.model
        text, window = reference_text(answering.config), window_length(model, answering.limit)
        # QLoRA's base is another model: what its few bits cost is no forgetting.
        packed = getattr(model.config, "quantization_config", None) is not None
        kind = f"{model.get_input_embeddings().weight.dtype}{' quantised' if packed else ''}"
        key = f"{answering.device.words}, {kind}, windows of {window}"
        file = run.file(_REFERENCE)
        known = run.read_json(_REFERENCE) if file.is_file() else {}
        if key not in known:
            known[key] = asdict(answering.reference_loss(text, window))
            run.write_json(_REFERENCE, known)
        return cls(Forgetting(**known[key]), window)
