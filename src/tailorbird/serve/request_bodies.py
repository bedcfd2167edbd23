"""Request bodies in the formats of OpenAI, vLLM, TEI and Cohere.

Unknown fields and unsupported values are refused; only fields that identify the caller and do not
change the answer (`user`, `metadata` and such) are ignored.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr


def _check_characters(text: str) -> str:
    """Refuse halves of surrogate pairs, which JSON can express and UTF-8 cannot.

    Raises:
        ValueError: There is one.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(
            "the text contains half of a surrogate pair, which UTF-8 cannot encode"
        ) from None
    return text


Words = Annotated[StrictStr, AfterValidator(_check_characters)]
Name = Annotated[Words, Field(min_length=1, max_length=200)]
StrictNumber = Annotated[float, Field(strict=True)]


class Body(BaseModel):
    """What all bodies have in common: nothing unknown is taken."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class TextPart(Body):
    """A part of a message that is text."""

    type: Literal["text", "input_text"]
    text: Words


class Turn(Body):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Words | list[TextPart]
    name: Words | None = None
    # Fields of assistants' messages that clients send back.
    refusal: None = None
    annotations: list[Any] | None = None

    @property
    def words(self) -> str:
        """The text of all its parts."""
        parts = [self.content] if isinstance(self.content, str) else [p.text for p in self.content]
        return "\n".join(parts)


class StreamOptions(Body):
    """What a stream holds beside the answer."""

    include_usage: StrictBool | None = None
    include_obfuscation: Literal[False] | None = None


class Writing(Body):
    """How an answer is written, for chats and completions."""

    model: Name
    max_tokens: StrictInt | None = Field(None, ge=1)
    temperature: StrictNumber | None = Field(None, ge=0, le=2)
    top_p: StrictNumber | None = Field(None, gt=0, le=1)
    stop: Words | Annotated[list[Words], Field(max_length=4)] | None = None
    seed: Annotated[StrictInt, Field(ge=-(2**63), le=2**63 - 1)] | None = None
    n: Annotated[StrictInt, Field(ge=1, le=8)] | None = None
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    user: Words | None = None

    @property
    def top(self) -> int | None:
        """Of how many of the likeliest tokens the odds are wanted; None: of none at all."""
        return None

    @property
    def stops(self) -> tuple[str, ...] | None:
        """The stop strings; None where none are given."""
        if self.stop is None:
            return None
        return tuple(s for s in ([self.stop] if isinstance(self.stop, str) else self.stop) if s)


class ChatBody(Writing):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[Turn], Field(min_length=1, max_length=1000)]
    max_completion_tokens: StrictInt | None = Field(None, ge=1)
    logprobs: StrictBool | None = None
    top_logprobs: Annotated[StrictInt, Field(ge=0, le=20)] | None = None
    response_format: dict[Literal["type"], Literal["text"]] | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    tool_choice: Literal["none"] | None = None
    modalities: tuple[Literal["text"]] | None = None
    service_tier: Literal["auto", "default"] | None = None
    store: Literal[False] | None = None
    metadata: dict[str, str] | None = None
    safety_identifier: Words | None = None
    prompt_cache_key: Words | None = None

    @property
    def top(self) -> int | None:
        """Of how many of the likeliest tokens the odds are wanted; None: of none at all."""
        return (self.top_logprobs or 0) if self.logprobs else None


class CompletionBody(Writing):
    """`POST /v1/completions`."""

    prompt: Words | list[Words] | list[StrictInt] | list[list[StrictInt]]
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    logprobs: Annotated[StrictInt, Field(ge=0, le=5)] | None = None

    @property
    def top(self) -> int | None:
        """Of how many of the likeliest tokens the odds are wanted; None: of none at all."""
        return self.logprobs


class EmbeddingBody(Body):
    """`POST /v1/embeddings`."""

    model: Name | None = None
    input: Words | list[Words] | list[StrictInt] | list[list[StrictInt]]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: StrictInt | None = None
    user: Words | None = None


class ChoiceOption(Body):
    """An option of a question."""

    value: Words | StrictBool
    description: Words | None = None


class ChoiceQuestion(Body):
    """Which of the options fits."""

    type: Literal["choice"]
    instructions: Any = None
    choices: Annotated[list[ChoiceOption], Field(min_length=2, max_length=255)]
    name: Words | None = None


class PredicateQuestion(Body):
    """How likely something is: the label that its name says."""

    type: Literal["predicate"]
    instructions: Any = None
    name: Words | None = None


class Level(Body):
    """A step of a scale."""

    label: Words
    description: Words | None = None


class ScoreQuestion(Body):
    """Where on a scale of levels."""

    type: Literal["score"]
    instructions: Any = None
    levels: Annotated[list[Level], Field(min_length=2, max_length=255)]
    name: Words | None = None


Question = Annotated[
    ChoiceQuestion | PredicateQuestion | ScoreQuestion, Field(discriminator="type")
]


class DecisionTurn(Turn):
    """A message that a decision is about."""

    type: Literal["message"] | None = None


class DecisionBody(Body):
    """`POST /v1/decisions`."""

    model: Name
    input: Words | list[DecisionTurn]
    questions: Annotated[list[Question], Field(min_length=1, max_length=400)]
    prompt_cache_key: Words | None = None
    safety_identifier: Words | None = None


class ClassifyBody(Body):
    """`POST /classify` as vLLM's clients send it."""

    model: Name | None = None
    input: Words | Annotated[list[Words], Field(min_length=1)]
    use_activation: Literal[True] | None = None
    user: Words | None = None


class TokensBody(Body):
    """`POST /classify` as LoRAX' clients send it: labels of words."""

    model: Name | None = None
    inputs: Words


class PredictBody(Body):
    """`POST /predict` of text-embeddings-inference.

    ``"a"`` is one text, ``["a", "b"]`` a pair, ``[["a"], ["b"]]`` a batch.
    """

    model: Name | None = None
    inputs: (
        Words
        | Annotated[list[Words], Field(min_length=1, max_length=2)]
        | list[Annotated[list[Words], Field(min_length=1, max_length=2)]]
    )
    truncate: StrictBool | None = None
    truncation_direction: Literal["Right", "right"] | None = None
    raw_scores: Literal[False] | None = None


class ExplainBody(Body):
    """`POST /v1/explain`: which words a label hangs on."""

    model: Name | None = None
    input: Words
    label: Words | None = None
    max_words: Annotated[StrictInt, Field(ge=1, le=256)] = 64
