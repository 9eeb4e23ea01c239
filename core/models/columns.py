"""Column types that every table shares: UTC instants, and closed sets of words as checked text."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, Enum, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import mapped_column

from core.identity import new_id

OurId = Annotated[UUID, mapped_column(primary_key=True, default=new_id)]
Instant = Annotated[datetime, mapped_column(DateTime(timezone=True))]
Now = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]
Json = Annotated[dict[str, Any], mapped_column(JSONB)]


def words(kind: type[StrEnum]) -> Enum:
    """Return a text column type for a closed set of words; the set is checked by `one_of`, not by an enum type.

    A PostgreSQL enum cannot lose a value and hardly gain one in a transaction; a check constraint can.
    """
    return Enum(
        kind,
        native_enum=False,
        create_constraint=False,
        length=32,
        values_callable=lambda _: [w.value for w in kind],
    )


def one_of(column: str, kind: type[StrEnum]) -> CheckConstraint:
    """Return the check that holds a column to the words of `kind`."""
    listed = ", ".join(f"'{word.value}'" for word in kind)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_is_known")
