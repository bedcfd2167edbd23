"""Request bodies of knowledge bases: questions, searches, and filters on metadata."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt

from tailorbird.serve.error_responses import refuse
from tailorbird.serve.request_bodies import Body, Name, Words

Few = Annotated[StrictInt, Field(ge=1, le=50)]
Scalar = Words | StrictBool | StrictInt | StrictFloat
_SIGNS = {"eq": "=", "ne": "!=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class PastTurn(Body):
    """An earlier question of the conversation and its answer."""

    question: Words
    answer: Words


class AskBody(Body):
    """`POST /v1/ask`."""

    model: Name | None = None
    question: Words
    history: Annotated[list[PastTurn], Field(max_length=100)] = []
    k: Few | None = None
    where: Words | None = None
    stream: StrictBool | None = None


class MetadataFilter(Body):
    """A condition on one key of the documents' metadata, in OpenAI's format."""

    type: Literal["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"]
    key: Annotated[Words, Field(min_length=1)]
    value: Scalar | Annotated[list[Scalar], Field(min_length=1, max_length=1000)]

    def words(self) -> str:
        """Return it in the syntax of `tailor ask`.

        Raises:
            RequestFault: One value where several are needed, or the other way round.
        """
        name = "`" + self.key.replace("`", "``") + "`"
        if isinstance(self.value, list) != (self.type in ("in", "nin")):
            raise refuse("in and nin need a list of values, other types one value", "filters")
        if isinstance(self.value, list):
            any_of = f"{name} in ({', '.join(map(_literal, self.value))})"
            return any_of if self.type == "in" else f"not ({any_of})"
        return f"{name} {_SIGNS[self.type]} {_literal(self.value)}"


class CompoundFilter(Body):
    """Conditions of which all, or any, must hold."""

    type: Literal["and", "or"]
    filters: Annotated[list["MetadataFilter | CompoundFilter"], Field(min_length=1, max_length=100)]

    def words(self) -> str:
        """See `MetadataFilter.words`."""
        return f" {self.type} ".join(f"({part.words()})" for part in self.filters)


def _literal(value: str | bool | int | float) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value).lower()


class SearchBody(Body):
    """`POST /v1/vector_stores/{id}/search`; `where` is the condition of `tailor ask`."""

    query: Words | Annotated[list[Words], Field(min_length=1, max_length=1)]
    max_num_results: Few | None = None
    rewrite_query: Literal[False] | None = None
    filters: MetadataFilter | CompoundFilter | None = None
    where: Words | None = None

    def condition(self) -> str | None:
        """Return `filters` and `where` as one condition, or None."""
        parts = [] if self.where is None else [self.where]
        parts += [] if self.filters is None else [self.filters.words()]
        return " and ".join(f"({part})" for part in parts) or None
