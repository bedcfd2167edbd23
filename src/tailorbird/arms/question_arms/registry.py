"""The table of arms for questions about documents, the cheapest first.

An arm combines the weights that answer with the context before the question.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tailorbird.config import METHODS
from tailorbird.errors import UserError, did_you_mean

Context = Literal["nothing", "shots", "passages", "gold"]
Tuned = Literal["closed book", "raft"]
PROCESS = "tailorbird.arms.question_arms.question_arm_process"
"""The module that runs an arm in a process of its own."""


@dataclass(frozen=True, slots=True)
class QuestionArm:
    """One way of answering questions.

    Attributes:
        name: Its name in the report.
        words: Its description.
        context: What precedes the question.
        method: The fine-tuning method; None: untuned.
        tuned: The training data: questions alone, or questions with passages.
        weights: The arm whose weights it uses, if not its own.
        leaf: The module here whose ``answers`` runs it.
    """

    name: str
    words: str
    context: Context
    method: str | None = None
    tuned: Tuned | None = None
    weights: str | None = None
    leaf: Literal["answer_with_model", "answer_without_model"] = "answer_with_model"

    @property
    def generates(self) -> bool:
        """Whether a language model generates its answers."""
        return self.leaf == "answer_with_model"

    @property
    def retrieves(self) -> bool:
        """Whether it uses retrieved passages, so that changed documents affect it."""
        return self.context == "passages"

    @property
    def uses_gold(self) -> bool:
        """Whether it gets the relevant passage: an upper bound, never recommended."""
        return self.context == "gold"

    @property
    def trains(self) -> bool:
        """Whether it has a training of its own."""
        return self.method is not None and self.weights is None


_UNTRAINED = (
    QuestionArm("nearest", "the answer to the most similar training question", "shots",
                leaf="answer_without_model"),
    QuestionArm("quote", "quoted sentences of the retrieved passages", "passages",
                leaf="answer_without_model"),
    QuestionArm("base", "the untouched model, no documents", "nothing"),
    QuestionArm("few_shot", "the same, with solved training questions in the prompt", "shots"),
    QuestionArm("rag", "the untouched model with retrieved passages", "passages"),
    QuestionArm("oracle", "the same with the right passage: an upper bound", "gold"),
)  # fmt: skip


def _tuned(name: str) -> tuple[QuestionArm, ...]:
    alone = f"tuned by {name} on questions and answers alone"
    passages = f"tuned by {name} to answer from passages"
    return (
        QuestionArm(name, alone, "nothing", name, "closed book"),
        QuestionArm(f"rag+{name}", f"{name}'s model (closed book) with passages", "passages", name,
                    "closed book", name),
        QuestionArm(f"raft+{name}", passages, "passages", name, "raft"),
    )  # fmt: skip


TABLE: dict[str, QuestionArm] = {
    arm.name: arm for arm in (*_UNTRAINED, *(a for m in METHODS for a in _tuned(m)))
}
"""Every arm by its name, the cheapest first."""
ALL_METHODS = "all"


def select_arms(names: Sequence[str] | None) -> tuple[QuestionArm, ...]:
    """Return the arms to run, each after the arm whose weights it uses.

    Args:
        names: `compare.methods`: methods in place of LoRA, or arms.

    Raises:
        UserError: There is no such arm.
    """
    keys = set(names or ("lora",))
    if strange := sorted(keys - {*TABLE, *METHODS, ALL_METHODS}):
        raise UserError(
            f"there is no arm {strange[0]!r} for questions{did_you_mean(strange[0], TABLE)}",
            f"choose among: {', '.join((*TABLE, ALL_METHODS))}",
        )
    if ALL_METHODS in keys:
        keys |= set(METHODS)
        keys.remove(ALL_METHODS)
    if keys <= set(METHODS):
        keys = {a.name for a in TABLE.values() if a.method is None or a.method in keys}
    keys |= {a.weights for a in TABLE.values() if a.name in keys and a.weights}
    return tuple(arm for arm in TABLE.values() if arm.name in keys)
