"""Settings of a comparison on questions: documents, fine-tuning, or both."""

from typing import Literal

from pydantic import Field

from tailorbird.config.section import Section


class QuestionsConfig(Section):
    """A comparison on questions: which, on what documents, and how much of it."""

    store: str | None = None
    """Knowledge base that holds the documents; with it `tailor compare` asks questions."""
    documents: str | None = None
    """Documents that are indexed first, into the run's own knowledge base: files, folders, globs,
    with commas between them."""
    split: Literal["document", "paragraph", "question"] | None = None
    """What never stands in two parts; default: document where the questions name enough sources,
    else question."""
    test: int = Field(300, ge=10)
    """Most questions that are tested on."""
    train: int | None = Field(None, ge=10)
    """Most questions that are trained on; default: 300 on a CPU, else all."""
    validation: int | None = Field(None, ge=5)
    """Questions that training is validated on; default: a tenth, at most 60."""
    passages: int | None = Field(None, ge=1, le=20)
    """Passages before each question; default: 4, or as many as questions.prompt_tokens holds."""
    prompt_tokens: int | None = Field(None, ge=64)
    """Tokens of passages before each question; default: 512 on a CPU, else 2,048."""
    answer_tokens: int = Field(48, ge=4)
    """Longest answer, the same for every arm."""
    shots: int = Field(4, ge=1)
    """few_shot: solved training questions before each question."""
    changed: str | None = None
    """Folder or file with the documents as they are after a real edit; default: answers are
    exchanged for others of their kind."""
    substitutions: int = Field(60, ge=0)
    """Most test questions whose answer is exchanged in the documents; 0: no change is tested."""
    price_per_hour: float | None = Field(None, ge=0)
    """What an hour of this machine costs; prices are shown with it."""
    seed: int = Field(1, ge=0)
    """Seed of the split, the order of passages and the exchange of answers."""


class RaftConfig(Section):
    """RAFT (arXiv 2403.10131): a model is tuned on questions with the passages found for them."""

    missing: float = Field(0.2, ge=0, le=0.9)
    """Share of the rows in which no passage holds the answer."""
    shares: tuple[float, ...] | None = None
    """Shares of the rows with the right passage to choose among on validation, each a training of
    its own, such as `[0.6, 0.8, 1]`; default: 1 - raft.missing alone."""
    no_oracle: Literal["abstain", "answer"] = "abstain"
    """What is learnt where no passage holds the answer: to say so, or, as in the paper, the answer
    all the same."""
    quote: bool = True
    """Whether the sentence that holds the answer is written before it."""
