"""`EncryptedString`: assign text, read text, and only the envelope ever reaches SQLAlchemy.

A `TypeDecorator` alone cannot do this. It does not know its row, so it cannot bind the value to it; and what it
is handed at bind time stands in `StatementError`, in `exc.params` and in the echo. So the attribute itself seals
on assignment and opens on reading, and the type below it refuses whatever is not sealed yet.
"""

from typing import Any

from sqlalchemy import Text, event, inspect
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.orm import Mapper
from sqlalchemy.types import TypeDecorator

from core.encryption.cipher import context_of, is_sealed
from core.encryption.keyring import current_keyring
from core.errors import EncryptionError


class PlaintextRefusedError(EncryptionError, DontWrapMixin):
    """Plain text was about to be bound to an encrypted column; it is not in this error, nor wrapped into one."""


class EncryptedString(TypeDecorator[str]):
    """A text column that holds envelopes only; `length` bounds the plain text, in characters."""

    impl = Text
    cache_ok = True

    def __init__(self, length: int = 255) -> None:
        super().__init__()
        self.max_characters = length

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        """Pass envelopes on and refuse everything else."""
        if value is not None and not is_sealed(value):
            raise PlaintextRefusedError("plain text for an encrypted column: assign it to the attribute of a row")
        return value


class EncryptedAttribute:
    """Stands before SQLAlchemy's attribute: seals on assignment, opens on reading, leaves queries alone."""

    def __init__(self, attribute: Any, mapper: Mapper[Any], column: str) -> None:
        self._attribute = attribute
        self._column = column
        kind = mapper.local_table.c[column].type
        self._length = kind.max_characters if isinstance(kind, EncryptedString) else 0
        self._table = str(mapper.local_table.description)
        (key,) = mapper.primary_key
        self._key, self._new_key = str(key.key), key.default

    def __get__(self, row: object | None, owner: type | None = None) -> Any:
        if row is None:
            return self._attribute
        sealed = self._attribute.__get__(row, owner)
        return None if sealed is None else current_keyring().open(sealed, self._context(row))

    def __set__(self, row: object, text: str | None) -> None:
        if text is not None and len(text) > self._length:
            raise EncryptionError(f"{self._column} takes at most {self._length} characters")
        sealed = None if text is None else current_keyring().seal(text, self._context(row))
        self._attribute.__set__(row, sealed)

    def _context(self, row: object) -> bytes:
        key = getattr(row, self._key)
        if key is None:
            # The client makes its ids, so the row can have its own before it is written.
            key = self._new_key.arg(None)
            setattr(row, self._key, key)
        return context_of(self._table, self._column, str(key))


@event.listens_for(Mapper, "mapper_configured")
def _guard_encrypted_columns(mapper: Mapper[Any], owner: type) -> None:
    for prop in inspect(mapper).column_attrs:
        if isinstance(prop.columns[0].type, EncryptedString):
            guarded = EncryptedAttribute(mapper.class_manager[prop.key], mapper, prop.columns[0].name)
            # Past DeclarativeMeta, which would take the new attribute for a column.
            type.__setattr__(owner, prop.key, guarded)


def sealed_values(row: object) -> dict[str, Any]:
    """Return what was assigned to a row as it goes into the database: envelopes stay closed."""
    return {name: value for name, value in inspect(row).dict.items() if not name.startswith("_")}
