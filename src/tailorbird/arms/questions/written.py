"""Answers that a model writes: untouched or tuned, with nothing, examples or passages before."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tailorbird.arms.generative_predictor import open_tuned, open_untouched
from tailorbird.arms.questions.job import QuestionJob
from tailorbird.arms.questions.prompts import conversation
from tailorbird.arms.questions.sheet import ArmAnswers, Item, Output, PromptPassage
from tailorbird.arms.questions.training import tune_arm
from tailorbird.data.encode_chat import encode_prompts
from tailorbird.errors import UserError
from tailorbird.models.device import peak_memory
from tailorbird.models.generate import Sampling, generate
from tailorbird.models.generation_inputs import context_length
from tailorbird.records import Example
from tailorbird.tasks.base_model import Answering


def answers(job: QuestionJob) -> ArmAnswers:
    """Load or train the arm's model, and answer every question of the sheet.

    Raises:
        UserError: The model cannot be had, does not write, or reads too little for a passage.
    """
    tuning = tune_arm(job) if job.arm.trains else None
    started = time.perf_counter()
    asker: _Asker = _Served(job) if job.config.ask.endpoint else _local(job)
    loaded = time.perf_counter()
    test = asker.read(job.sheet.test, job.arm.name)
    seconds = time.perf_counter() - loaded
    moves = job.arm.context in ("passages", "gold")
    outputs = ArmAnswers(
        test=test,
        changed=asker.read(job.sheet.changed) if moves else (),
        unchanged=asker.read(job.sheet.unchanged) if moves else (),
        seconds=seconds,
        load_seconds=loaded - started,
        peak_memory_bytes=asker.peak_memory_bytes(),
        notes=asker.notes(test),
    )
    if tuning is None:
        return outputs
    return replace(
        outputs, train_seconds=tuning.seconds, artifact_bytes=tuning.artifact_bytes,
        settings=tuning.settings, notes=(*outputs.notes, *tuning.notes),
    )  # fmt: skip


def _local(job: QuestionJob) -> "_Reader":
    """Return the arm's model on this machine."""
    if job.arm.method is None:
        return _Reader(job, open_untouched(job.config))
    weights = job.run.arm(job.arm.weights or job.arm.name)
    return _Reader(job, open_tuned(weights, trust=job.config.model.trust_remote_code))


class _Asker:
    """Puts questions of a sheet with what stands before them in this arm."""

    def __init__(self, job: QuestionJob) -> None:
        self.job = job

    def read(self, items: Sequence[Item], title: str = "") -> tuple[Output, ...]:
        """Return an answer per question."""
        raise NotImplementedError

    def peak_memory_bytes(self) -> int | None:
        """Return the most memory that answering took here."""
        return None

    def notes(self, test: Sequence[Output]) -> tuple[str, ...]:
        """Return what was left out for want of room, in words."""
        wishes = self.counts_of(self.job.sheet.test)
        fewer = sum(o.shown < w for o, w in zip(test, wishes, strict=True))
        if not fewer:
            return ()
        what = "solved questions" if self.job.arm.context == "shots" else "passages"
        mean = np.mean([output.shown for output in test])
        return (
            f"the model's context holds {mean:.1f} {what} on average: {fewer:,} of {len(test):,} "
            "questions were asked with fewer",
        )

    def counts_of(self, items: Sequence[Item]) -> list[int]:
        """Return how much of what there is should stand before each question."""
        if self.job.arm.context == "shots":
            most = self.job.config.questions.shots
            return [len(item.shots[:most]) for item in items]
        return [len(self.pieces(item)) for item in items]

    def pieces(self, item: Item) -> tuple[PromptPassage, ...]:
        """Return the passages that should stand before a question."""
        if self.job.arm.context == "gold":
            return () if item.gold is None else (item.gold,)
        return item.found[: self.job.sheet.passages] if self.job.arm.retrieves else ()

    def example(self, item: Item, count: int) -> Example:
        """Return a question with so much before it."""
        if self.job.arm.context == "shots":
            return conversation(item, shots=item.shots[:count])
        return conversation(item, self.pieces(item)[:count])


class _Served(_Asker):
    """An OpenAI-compatible server, asked one question after the other."""

    def read(self, items: Sequence[Item], title: str = "") -> tuple[Output, ...]:
        """Return an answer per question."""
        from tailorbird.rag.endpoint import Endpoint

        config = self.job.config.ask
        longest = {"answer_tokens": self.job.config.questions.answer_tokens}
        endpoint = Endpoint(config.endpoint or "", config.model_copy(update=longest))
        outputs = []
        for item, count in zip(items, self.counts_of(items), strict=True):
            messages = self.example(item, count).messages
            text = "".join(endpoint.stream(messages)).strip()
            outputs.append(Output(text, endpoint.count(messages), 0, count))
        return tuple(outputs)


class _Reader(_Asker):
    """A model that answers many questions at once."""

    def __init__(self, job: QuestionJob, answering: Answering) -> None:
        super().__init__(job)
        self.model, self.tokenizer = answering.model, answering.tokenizer
        self.device = answering.device
        tokens = job.config.questions.answer_tokens
        limit = context_length(self.model) or 10**9
        self.sampling = Sampling(tokens, end_ids=answering.ends, seed=job.config.questions.seed)
        self.room = limit - tokens

    def read(self, items: Sequence[Item], title: str = "") -> tuple[Output, ...]:
        """Return an answer per question, many prompts read together."""
        if not items:
            return ()
        counts, ids = self._fitted(items)
        answers = generate(self.model, self.tokenizer, ids, self.sampling, self.device, title)
        return tuple(
            Output(w.text.strip(), len(i), w.tokens, s)
            for w, i, s in zip(answers, ids, counts, strict=True)
        )

    def peak_memory_bytes(self) -> int | None:
        """Return the most memory that the process held."""
        return peak_memory(self.device)

    def _fitted(self, items: Sequence[Item]) -> tuple[list[int], list[np.ndarray]]:
        """Return how much stands before each question, and the prompts: as much as there is room.

        Raises:
            UserError: Not even the question fits, or passages are wanted and none ever does.
        """
        counts = self.counts_of(items)
        wishes = list(counts)
        ids: list[np.ndarray] = encode_prompts(
            [self.example(i, n) for i, n in zip(items, counts, strict=True)], self.tokenizer
        )
        while long := [i for i, row in enumerate(ids) if len(row) > self.room and counts[i]]:
            for i in long:
                counts[i] -= 1
            again = encode_prompts(
                [self.example(items[i], counts[i]) for i in long], self.tokenizer
            )
            for i, row in zip(long, again, strict=True):
                ids[i] = row
        longest = max(map(len, ids))
        if longest > self.room:
            raise UserError(
                f"a question alone takes {longest:,} tokens, and {self.job.config.model.name} has "
                f"room for {self.room:,} beside the answer",
                "take a model that reads more, or lower questions.answer_tokens",
            )
        if sum(wishes) and not sum(counts) and self.job.arm.context != "shots":
            raise UserError(
                f"the context of {self.job.config.model.name} is too short for one passage",
                "take a model that reads more, or cut documents shorter: --set "
                "index.chunk_tokens=64",
            )
        return counts, ids
