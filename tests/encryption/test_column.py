"""The column of the guide, as written: transparent to the row, opaque to SQLAlchemy, its errors and its echo."""

import copy
import logging
import os
import pickle
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Column, Integer, String, Text, Uuid, insert, inspect, null, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, aliased, mapped_column

from core.encryption import EncryptedString, Keyring, current_keyring, install_keyring
from core.encryption.column import PlaintextRefusedError, sealed_values
from core.errors import EncryptionError
from core.identity import new_id
from core.locking import OptimisticLockMixin

CANARY = "access-production-canary-5f0c1a2b3c4d"


class Base(DeclarativeBase):
    pass


class PlaidItem(Base, OptimisticLockMixin):
    __tablename__ = "guide_items"

    id = Column(Uuid, primary_key=True, default=new_id)
    note = Column(String)
    plaid_access_token = Column(EncryptedString(255), nullable=False)


class Numbered(Base):
    __tablename__ = "numbered"

    bank: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    secret: Mapped[str | None] = mapped_column("hidden", EncryptedString(20))
    other: Mapped[str | None] = mapped_column(EncryptedString(20))


class DataBase(MappedAsDataclass, DeclarativeBase):
    pass


class Card(DataBase):
    __tablename__ = "cards"

    id: Mapped[UUID] = mapped_column(primary_key=True, default_factory=new_id, init=False)
    secret: Mapped[str] = mapped_column(EncryptedString(20))


@pytest.fixture(autouse=True)
def keyring():
    install_keyring(Keyring.of(os.urandom(32)))


@pytest.fixture
async def session(database_url: str) -> AsyncIterator[AsyncSession]:
    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://"), echo=True)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.run_sync(DataBase.metadata.create_all)
    async with AsyncSession(engine, expire_on_commit=False) as opened:
        yield opened
    await engine.dispose()


def held(row: object, name: str) -> Any:
    return inspect(row).dict[name]


async def test_a_row_takes_text_and_gives_text_and_the_database_has_the_envelope(session):
    row = PlaidItem(plaid_access_token=CANARY)
    session.add(row)
    await session.commit()
    session.expunge_all()
    stored = (await session.execute(text("SELECT plaid_access_token FROM guide_items"))).scalar_one()
    assert stored.startswith("sealed:v1:")
    assert CANARY not in stored
    found = (await session.scalars(select(PlaidItem))).one()
    assert found.plaid_access_token == CANARY


async def test_loading_a_row_and_selecting_the_column_decrypt_nothing(session):
    session.add(PlaidItem(plaid_access_token=CANARY))
    await session.commit()
    session.expunge_all()
    install_keyring(Keyring.of(os.urandom(32)))
    row = (await session.scalars(select(PlaidItem))).one()
    assert (await session.scalars(select(PlaidItem.plaid_access_token))).one().startswith("sealed:v1:")
    row.note = "a change elsewhere writes no token"
    await session.commit()
    with pytest.raises(EncryptionError, match=r"^Failed to decrypt data$"):
        _ = row.plaid_access_token


def test_a_key_that_is_given_after_the_token_takes_the_token_along():
    key = new_id()
    row = PlaidItem(plaid_access_token=CANARY, id=key)
    assert row.id == key
    assert row.plaid_access_token == CANARY
    elsewhere = PlaidItem(id=new_id())
    inspect(elsewhere).dict["plaid_access_token"] = held(row, "plaid_access_token")
    with pytest.raises(EncryptionError):
        _ = elsewhere.plaid_access_token


def test_a_key_of_several_columns_and_another_name_in_the_table():
    row = Numbered(bank="b", number=1, secret="one", other=None)
    assert (row.secret, row.other) == ("one", None)
    row.other = "two"
    row.number = 2
    assert (row.secret, row.other) == ("one", "two")


def test_a_dataclass_of_sqlalchemy_works_as_well():
    row = Card(secret="one")
    assert row.secret == "one"
    assert held(row, "secret").startswith("sealed:v1:")


def test_a_row_whose_key_the_database_makes_says_what_to_do():
    with pytest.raises(EncryptionError, match="set bank before hidden: an encrypted value is bound to its row"):
        Numbered(secret="one")


def test_a_text_that_is_too_long_is_refused_without_being_shown():
    with pytest.raises(EncryptionError) as refused:
        PlaidItem(plaid_access_token=CANARY * 10)
    assert str(refused.value) == "plaid_access_token takes at most 255 characters"


def test_copies_pickles_and_values_hold_the_envelope():
    row = PlaidItem(id=new_id(), plaid_access_token=CANARY)
    for text_of in (pickle.dumps(row), repr(row).encode(), repr(inspect(row).dict).encode()):
        assert CANARY.encode() not in text_of
    assert copy.copy(sealed_values(row))["plaid_access_token"].startswith("sealed:v1:")
    assert pickle.loads(pickle.dumps(row)).plaid_access_token == CANARY


@pytest.mark.parametrize(
    "question",
    [
        lambda column: column == CANARY,
        lambda column: column != CANARY,
        lambda column: column.in_([CANARY]),
        lambda column: column.like(CANARY),
        lambda column: CANARY == column,  # noqa: SIM300 - the other side is the point
    ],
)
@pytest.mark.parametrize("entity", [PlaidItem, aliased(PlaidItem)])
def test_a_comparison_is_refused_before_the_text_becomes_a_parameter(question, entity):
    with pytest.raises(PlaintextRefusedError, match="cannot be compared") as refused:
        question(entity.plaid_access_token)
    assert CANARY not in str(refused.value)


def test_is_null_can_be_asked():
    assert "IS NULL" in str(Numbered.secret.is_(None))
    assert "IS NOT NULL" in str(Numbered.secret != null())


async def test_plain_text_reaches_no_parameter_no_error_and_no_echo(session, caplog):
    caplog.set_level(logging.DEBUG)
    key = new_id()
    session.add(PlaidItem(id=key, plaid_access_token=CANARY))
    await session.commit()
    misuses = [
        insert(PlaidItem).values(id=new_id(), plaid_access_token=CANARY),
        update(PlaidItem).values(plaid_access_token=CANARY),
    ]
    for statement in misuses:
        with pytest.raises(PlaintextRefusedError) as refused:
            await session.execute(statement)
        assert CANARY not in repr(refused.value)
        await session.rollback()
    # The same row again: PostgreSQL's own error, with the statement and its parameters.
    session.add(PlaidItem(id=key, plaid_access_token=CANARY))
    with pytest.raises(SQLAlchemyError) as broken:
        await session.commit()
    await session.rollback()
    assert "sealed:v1:" in str(broken.value)
    assert CANARY not in str(broken.value) + repr(broken.value.params)
    assert "INSERT INTO guide_items" in caplog.text
    assert CANARY not in caplog.text


async def test_many_rows_at_once_take_what_a_row_sealed(session):
    rows = [PlaidItem(id=new_id(), plaid_access_token=f"{CANARY}-{n}") for n in range(3)]
    await session.execute(insert(PlaidItem), [sealed_values(row) for row in rows])
    found = (await session.scalars(select(PlaidItem).order_by(PlaidItem.id))).all()
    assert [row.plaid_access_token for row in found] == [f"{CANARY}-{n}" for n in range(3)]


def test_the_type_is_text_to_the_database():
    assert isinstance(EncryptedString(255).impl, Text)
    assert current_keyring().enabled
