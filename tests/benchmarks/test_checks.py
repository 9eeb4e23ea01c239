"""The benchmark counts no figure whose result is wrong: its checks see one row, one cent and one cursor."""

from decimal import Decimal

import asyncpg
import msgspec
import pytest

from benchmarks.contender import WrongResultError, check
from benchmarks.contenders import LIMIT_STORED
from benchmarks.limit import TABLES
from benchmarks.work import Totals, Work

WORK = Work(items=2, history=3, rounds=4)


@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_the_expected_totals_are_those_of_the_pages_served(rounds: int):
    assert replayed(WORK, rounds) == WORK.totals(rounds)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM rows WHERE item = 0 AND transaction_id = 't1'",
        "UPDATE rows SET amount = amount + 0.01 WHERE item = 1 AND transaction_id = 't2'",
        "UPDATE cursors SET cursor = 'cursor-00000000-page-00000500' WHERE item = 0",
        "INSERT INTO rows (item, transaction_id, amount) VALUES (9, 't1', 0)",
    ],
    ids=["a row lost", "a cent more", "a cursor behind", "a row doubled"],
)
async def test_a_wrong_store_is_refused(database_url: str, damage: str):
    connection = await asyncpg.connect(database_url)
    await connection.execute(TABLES)
    await store(connection, WORK)
    check("right", await stored(connection), WORK.totals(1))
    await connection.execute(damage)
    with pytest.raises(WrongResultError, match="expected"):
        check("wrong", await stored(connection), WORK.totals(1))
    await connection.close()


def replayed(work: Work, rounds: int) -> Totals:
    amounts: dict[str, Decimal] = {}
    at_cursor = 0
    for item in range(work.items):
        pages = [msgspec.json.decode(body, type=Page) for _, body in work.pages(item)][:rounds]
        for page in pages:
            amounts |= {row.transaction_id: row.amount for row in (*page.added, *page.modified)}
            for gone in page.removed:
                del amounts[gone.transaction_id]
        at_cursor += pages[-1].next_cursor == work.cursor(item, rounds)
    return Totals(len(amounts), sum(amounts.values(), Decimal(0)), at_cursor)


class Row(msgspec.Struct):
    transaction_id: str
    amount: Decimal = Decimal(0)


class Page(msgspec.Struct):
    added: list[Row]
    modified: list[Row]
    removed: list[Row]
    next_cursor: str


async def store(connection: asyncpg.Connection, work: Work) -> None:
    for item in range(work.items):
        page = msgspec.json.decode(next(body for _, body in work.pages(item)), type=Page)
        rows = [(item, f"t{n}", row.amount) for n, row in enumerate(page.added)]
        await connection.executemany("INSERT INTO rows (item, transaction_id, amount) VALUES ($1, $2, $3)", rows)
        await connection.execute("INSERT INTO cursors VALUES ($1, $2)", item, page.next_cursor)


async def stored(connection: asyncpg.Connection) -> Totals:
    rows, amount, at_cursor = await connection.fetchrow(LIMIT_STORED, "%end-of-round-1")
    return Totals(rows, amount, at_cursor)
