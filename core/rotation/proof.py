"""Which key each stored value is under: read off the envelopes, nothing is decrypted."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, Text, func, literal_column, select, text, type_coerce

from core.database import Base, Database
from core.encryption.cipher import PREFIX, TAG_CHARACTERS, from_base64url
from core.encryption.column import EncryptedString
from core.errors import EncryptionError

NOT_SEALED = "not sealed"
PROOF_SECONDS = 600


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """An encrypted column of a table."""

    table: Table
    column: Column[Any]

    @property
    def text(self) -> ColumnElement[str]:
        """The column as plain text, which unlike the encrypted column can be compared."""
        return type_coerce(self.column, Text)

    @property
    def tag(self) -> ColumnElement[str]:
        """The first letters of the envelope, which name its key."""
        # Spelt out: as a parameter it would be another expression in GROUP BY than in SELECT.
        return func.left(self.text, literal_column(str(TAG_CHARACTERS)))


def sealed_columns() -> Iterator[SealedColumn]:
    """Yield every encrypted column of every model, in a constant order."""
    for table in Base.metadata.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, EncryptedString):
                yield SealedColumn(table, column)


def key_id_of(tag: str) -> str:
    """Return the key id that an envelope's first letters name, or `not sealed`."""
    try:
        return from_base64url(tag.removeprefix(PREFIX))[2:].hex() if tag.startswith(PREFIX) else NOT_SEALED
    except EncryptionError:
        return NOT_SEALED


async def rows_by_key(database: Database) -> Counter[str]:
    """Return how many stored values are under each key, by key id; values that are no envelopes count apart.

    Reads every sealed value of the tables: a key is destroyed by this count, which an estimate or an index that is not
    the value itself would not prove. Asked for by a person and at a rotation's end, never by the schedule.
    """
    counts: Counter[str] = Counter()
    for sealed in sealed_columns():
        query = select(sealed.tag, func.count()).where(sealed.text.is_not(None)).group_by(sealed.tag)
        async with database.connection() as connection:
            # The service's 30 s are for statements of one Item; of a large fleet a key could never be proven unused.
            await connection.execute(text(f"SET LOCAL statement_timeout = '{PROOF_SECONDS}s'"))
            for tag, number in await connection.execute(query):
                counts[key_id_of(tag)] += number
    return counts
