"""Types that several shapes share: text that the database can keep, instants that it can compare, money as text."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer, StringConstraints

T = TypeVar("T")


def _utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside of the calendar") from None


# PostgreSQL keeps no NUL, and nothing of ours holds a control character.
Word = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
LongWord = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]+$")]
Instant = Annotated[AwareDatetime, AfterValidator(_utc)]
# As text: a JSON number would become a float on the way.
Money = Annotated[
    Decimal,
    PlainSerializer(lambda amount: format(amount, "f"), return_type=str),
    Field(json_schema_extra={"type": "string", "pattern": r"^-?\d+(\.\d+)?$", "examples": ["23.07"]}),
]


class Shape(BaseModel):
    """The base of answers."""

    model_config = ConfigDict(from_attributes=True)


class Request(BaseModel):
    """The base of what is asked: a field that is not known is refused, it is most likely misspelt."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class PageOf(Shape, Generic[T]):
    """A page, newest first. `next_cursor` asks for the next one; null on the last."""

    data: list[T]
    next_cursor: str | None = Field(examples=["WyIwMTlhIl0"])


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field(examples=["urn:manna-sync:problem:not-found"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["there is no Item 0190b1a2-0000-7000-8000-000000000000"])

    model_config = ConfigDict(extra="allow")
