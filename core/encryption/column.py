"""`EncryptedString`: assign text, read text, and only the envelope ever reaches SQLAlchemy.

A `TypeDecorator` alone cannot do this. It does not know its row, so it cannot bind the value to it; and what it
is handed at bind time stands in `StatementError`, in `exc.params` and in the echo. So the attribute itself seals
on assignment and opens on reading, and the type below it refuses whatever is not sealed yet. Loading a row, and
selecting the column, therefore decrypt nothing.
"""

from typing import Any, NoReturn

from sqlalchemy import Column, Null, Table, Text, event, inspect
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.orm import Mapper
from sqlalchemy.sql.operators import OperatorType, is_, is_not
from sqlalchemy.types import TypeDecorator

from core.encryption.cipher import context_of, is_sealed
from core.encryption.keyring import current_keyring, installed_keyring
from core.errors import EncryptionError

ANSWERABLE = (is_, is_not)


class PlaintextRefusedError(EncryptionError, DontWrapMixin):
    """Plain text was about to be bound to an encrypted column; it is not in this error, nor wrapped into one."""


class EncryptedString(TypeDecorator[str]):
    """A text column that holds envelopes only; `length` bounds the plain text, in characters."""

    impl = Text
    cache_ok = True

    class Comparator(TypeDecorator.Comparator[str]):
        """Answers `IS NULL`; no two envelopes of one text are equal, so every other question is a mistake."""

        def operate(self, op: OperatorType, *other: Any, **arguments: Any) -> Any:
            """Refuse to compare, before the other side becomes a parameter."""
            if op in ANSWERABLE or (other and (other[0] is None or isinstance(other[0], Null))):
                return super().operate(op, *other, **arguments)
            return _refuse_comparison()

        def reverse_operate(self, op: OperatorType, other: Any, **arguments: Any) -> Any:  # noqa: ARG002 - SQLAlchemy's
            """Refuse the same from the other side."""
            return _refuse_comparison()

    comparator_factory = Comparator

    def __init__(self, length: int = 255) -> None:
        super().__init__()
        self.max_characters = length

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's
        """Pass envelopes on and refuse everything else."""
        keyring = installed_keyring()
        if value is not None and not is_sealed(value) and not (keyring and keyring.accepts(value)):
            raise PlaintextRefusedError("plain text for an encrypted column: assign it to the attribute of a row")
        return value


def _refuse_comparison() -> NoReturn:
    raise PlaintextRefusedError("an encrypted column cannot be compared; accepted is IS NULL")


class EncryptedAttribute:
    """Stands before SQLAlchemy's attribute: seals on assignment, opens on reading, leaves queries alone."""

    def __init__(self, attribute: Any, mapper: Mapper[Any], column: Column[Any]) -> None:
        self._attribute = attribute
        self._column = column.name
        self._length = column.type.max_characters if isinstance(column.type, EncryptedString) else 0
        self._table = table_of(column).name
        self._key = tuple(mapper.get_property_by_column(part).key for part in mapper.primary_key)
        self._defaults = tuple(part.default for part in mapper.primary_key)

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

    def text_held(self, row: object) -> str | None:
        """Return the text if the row holds one in memory; nothing is loaded for it."""
        return None if inspect(row).dict.get(self._attribute.key) is None else self.__get__(row)

    def _context(self, row: object) -> bytes:
        return context_of(self._table, self._column, *self._row_key(row))

    def _row_key(self, row: object) -> tuple[Any, ...]:
        for name, default in zip(self._key, self._defaults, strict=True):
            if getattr(row, name) is not None:
                continue
            # The client makes its ids, so the row can have its own before it is written.
            if default is None or not (default.is_callable or default.is_scalar):
                raise EncryptionError(f"set {name} before {self._column}: an encrypted value is bound to its row")
            setattr(row, name, default.arg(None) if default.is_callable else default.arg)
        return tuple(getattr(row, name) for name in self._key)


class RowKeyAttribute:
    """Stands before the key of a row with encrypted values: a value assigned before its key follows the key."""

    def __init__(self, attribute: Any, encrypted: list[EncryptedAttribute]) -> None:
        self._attribute = attribute
        self._encrypted = encrypted

    def __get__(self, row: object | None, owner: type | None = None) -> Any:
        return self._attribute if row is None else self._attribute.__get__(row, owner)

    def __set__(self, row: object, key: Any) -> None:
        if key is not None and key == inspect(row).dict.get(self._attribute.key):
            return
        held = [(attribute, attribute.text_held(row)) for attribute in self._encrypted]
        self._attribute.__set__(row, key)
        for attribute, text in held:
            if text is not None:
                attribute.__set__(row, text)


def table_of(column: Column[Any]) -> Table:
    """Return a column's table; its bare name is part of the associated data, its schema is not."""
    table = column.table
    if not isinstance(table, Table):
        raise EncryptionError(f"{column.name} is encrypted, yet stands in no table")
    return table


@event.listens_for(Mapper, "mapper_configured")
def _guard_encrypted_columns(mapper: Mapper[Any], owner: type) -> None:
    encrypted = []
    for prop in inspect(mapper).column_attrs:
        column = prop.columns[0]
        if isinstance(column, Column) and isinstance(column.type, EncryptedString):
            guarded = EncryptedAttribute(mapper.class_manager[prop.key], mapper, column)
            encrypted.append(guarded)
            # Past DeclarativeMeta, which would take the new attribute for a column.
            type.__setattr__(owner, prop.key, guarded)
    if encrypted:
        for part in mapper.primary_key:
            key = mapper.get_property_by_column(part).key
            type.__setattr__(owner, key, RowKeyAttribute(mapper.class_manager[key], encrypted))


def sealed_values(row: object) -> dict[str, Any]:
    """Return what was assigned to a row as it goes into the database: envelopes stay closed."""
    return {name: value for name, value in inspect(row).dict.items() if not name.startswith("_")}
