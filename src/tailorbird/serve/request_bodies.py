"""Request bodies in the formats of OpenAI, vLLM, TEI and Cohere.

Unknown fields and unsupported values are refused; only fields that identify the caller and do not
change the answer (`user`, `metadata` and such) are ignored.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from tailorbird.records import Message
from tailorbird.serve.error_responses import refuse


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
Texts = Annotated[list[Words], Field(min_length=1)]
StrictNumber = Annotated[float, Field(strict=True)]
Tokens = list[StrictInt] | list[list[StrictInt]]


class Body(BaseModel):
    """The base of all bodies: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class TextPart(Body):
    """A text part of a message."""

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
    """What a stream contains besides the answer."""

    include_usage: StrictBool | None = None
    include_obfuscation: Literal[False] | None = None


class Writing(Body):
    """Settings of generation, for chats and completions."""

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
        """Number of the likeliest tokens to list for each token; None: no log-probabilities."""
        return None

    @property
    def stops(self) -> tuple[str, ...] | None:
        """The stop strings; None: not set."""
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
        """See `Writing.top`."""
        return (self.top_logprobs or 0) if self.logprobs else None

    def conversation(self) -> list[Message]:
        """Return the messages, of which the last one must be the user's.

        Raises:
            RequestFault: It is not.
        """
        messages = [
            Message("system" if turn.role == "developer" else turn.role, turn.words)
            for turn in self.messages
        ]
        if messages[-1].role != "user":
            raise refuse("the last message must be the user's", "messages")
        return messages

    def refuse_generation(self, why: str, *, ones: bool = False) -> None:
        """Refuse settings of generation, for an answer that no model generates.

        Args:
            why: The message.
            ones: Whether settings of 1, the defaults of some clients, are accepted.

        Raises:
            RequestFault: A setting is present.
        """
        settings = ("temperature", "top_p", "stop", "seed", "max_tokens", "max_completion_tokens")
        for name in (*settings, "n"):
            value = getattr(self, name)
            if value is not None and not (value == 1 and (ones or name == "n")):
                raise refuse(why, name)
        if self.logprobs:
            raise refuse(why, "logprobs")


class CompletionBody(Writing):
    """`POST /v1/completions`."""

    prompt: Words | list[Words] | Tokens
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None
    logprobs: Annotated[StrictInt, Field(ge=0, le=5)] | None = None

    @property
    def top(self) -> int | None:
        """See `Writing.top`."""
        return self.logprobs

    @property
    def prompts(self) -> list[Any]:
        """The prompts, each a text or a list of tokens."""
        return _listed(self.prompt)


class EmbeddingBody(Body):
    """`POST /v1/embeddings`."""

    model: Name | None = None
    input: Words | list[Words] | Tokens
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: StrictInt | None = None
    user: Words | None = None

    @property
    def texts(self) -> list[Any]:
        """The inputs, each a text or a list of tokens."""
        return _listed(self.input)


def _listed(value: Any) -> list[Any]:
    items = value if isinstance(value, list) else [value]
    return [items] if items and isinstance(items[0], int) else items


class ChoiceOption(Body):
    """An option of a question."""

    value: Words | StrictBool
    description: Words | None = None


class ChoiceQuestion(Body):
    """Which of the choices, which must be labels of the run, is right."""

    type: Literal["choice"]
    instructions: Any = None
    choices: Annotated[list[ChoiceOption], Field(min_length=2, max_length=255)]
    name: Words | None = None

    @property
    def labels(self) -> list[Any]:
        """The labels to choose from."""
        return [choice.value for choice in self.choices]


class PredicateQuestion(Body):
    """The probability of the label that `name` gives."""

    type: Literal["predicate"]
    instructions: Any = None
    name: Words | None = None


class Level(Body):
    """One level of a scale."""

    label: Words
    description: Words | None = None


class ScoreQuestion(Body):
    """The expected level on a scale, whose levels must be labels of the run."""

    type: Literal["score"]
    instructions: Any = None
    levels: Annotated[list[Level], Field(min_length=2, max_length=255)]
    name: Words | None = None

    @property
    def labels(self) -> list[Any]:
        """The labels of the levels, the lowest first."""
        return [level.label for level in self.levels]


Question = Annotated[
    ChoiceQuestion | PredicateQuestion | ScoreQuestion, Field(discriminator="type")
]


class DecisionTurn(Turn):
    """A message of the conversation to classify."""

    type: Literal["message"] | None = None


class DecisionBody(Body):
    """`POST /v1/decisions`."""

    model: Name
    input: Words | list[DecisionTurn]
    questions: Annotated[list[Question], Field(min_length=1, max_length=400)]
    prompt_cache_key: Words | None = None
    safety_identifier: Words | None = None


class ClassifyBody(Body):
    """`POST /classify` in vLLM's format: whole texts."""

    model: Name | None = None
    input: Words | Texts
    use_activation: Literal[True] | None = None
    user: Words | None = None


class TokensBody(Body):
    """`POST /classify` in LoRAX' format: the words of a text."""

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
    """`POST /v1/explain`."""

    model: Name | None = None
    input: Words
    label: Words | None = None
    max_words: Annotated[StrictInt, Field(ge=1, le=256)] = 64


class TextDocument(Body):
    """A document given as an object."""

    text: Words


class RerankBody(Body):
    """`POST /rerank`, `/v1/rerank`, `/v2/rerank`."""

    model: Name | None = None
    query: Words
    documents: Annotated[list[Words | TextDocument], Field(min_length=1)]
    top_n: Annotated[StrictInt, Field(ge=1)] | None = None
    return_documents: StrictBool | None = None

    @property
    def texts(self) -> list[str]:
        """The documents' texts."""
        return [doc if isinstance(doc, str) else doc.text for doc in self.documents]


class TeiRerankBody(Body):
    """`POST /rerank` of text-embeddings-inference."""

    model: Name | None = None
    query: Words
    texts: Texts
    return_text: StrictBool | None = None
    raw_scores: Literal[False] | None = None
    truncate: StrictBool | None = None
    truncation_direction: Literal["Right", "right"] | None = None


class ScoreBody(Body):
    """`POST /score`: one query and many documents, or as many queries as documents.

    vLLM accepts several names: `queries`, `text_1` or `data_1`; `documents`, `items`, `text_2` or
    `data_2`.
    """

    model: Name | None = None
    queries: Words | Texts | None = None
    documents: Words | Texts | None = None
    items: Words | Texts | None = None
    text_1: Words | Texts | None = None
    text_2: Words | Texts | None = None
    data_1: Words | Texts | None = None
    data_2: Words | Texts | None = None


class LoadBody(Body):
    """`POST /v1/load_lora_adapter`."""

    lora_name: Name
    lora_path: Annotated[str, Field(min_length=1, max_length=1000)]
    load_inplace: StrictBool | None = None


class UnloadBody(Body):
    """`POST /v1/unload_lora_adapter`."""

    lora_name: Name


class CorrectionBody(Body):
    """`POST /v1/corrections`."""

    model: Name
    text: Words
    label: Words
