"""Large updates: rows are made ready in a table beside, page by page, and one short transaction moves them.

The transaction that commits an update must not last as long as it takes PostgreSQL to read 100,000 transactions out
of JSON. Staged rows are nobody's until they are moved; a run that dies leaves them to the sweep.
"""

from functools import cache
from typing import NamedTuple
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import TextClause, delete, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from core.database import Database
from core.errors import RetryLaterError
from core.models import STAGED
from core.plaid.schemas import loose_page
from core.sync.apply import born_removed, execute_on_pages, parts
from core.sync.pages import Pages

log = structlog.get_logger()

# The later page's word counts, so a row is overwritten as often as it is told.
STAGE = """
dropped AS (
    INSERT INTO staged_transactions (run_id, transaction_id, gone) SELECT key, transaction_id, true FROM gone
    ON CONFLICT (run_id, transaction_id) DO UPDATE SET gone = true
    RETURNING xmax = 0 AS is_new
),
kept AS (
    INSERT INTO staged_transactions (run_id, gone, {transaction_columns})
    SELECT key, false, {transaction_values} FROM said AS field
    ON CONFLICT (run_id, transaction_id) DO UPDATE SET gone = false, {transaction_updates}
    RETURNING xmax = 0 AS is_new
)
SELECT count(*) FILTER (WHERE is_new) FROM (SELECT is_new FROM dropped UNION ALL SELECT is_new FROM kept) AS staged
"""
MOVE = """
WITH ended AS (
    SELECT transaction_id FROM staged_transactions WHERE run_id = :run_id AND gone
    UNION
    SELECT pending_transaction_id FROM staged_transactions
    WHERE run_id = :run_id AND NOT gone AND pending_transaction_id <> transaction_id
),
upserted AS (
    INSERT INTO transactions (item_id, {transaction_columns}, removed_at)
    SELECT :item_id, {transaction_columns}, {born_removed}
    FROM staged_transactions AS field
    WHERE run_id = :run_id AND NOT gone AND transaction_id NOT IN (SELECT transaction_id FROM ended)
    ON CONFLICT (item_id, transaction_id)
    DO UPDATE SET {transaction_updates}, removed_at = excluded.removed_at, updated_at = now()
)
UPDATE transactions SET removed_at = now(), updated_at = now()
FROM ended
WHERE transactions.item_id = :item_id
    AND transactions.transaction_id = ended.transaction_id
    AND transactions.removed_at IS NULL
"""
# After a pull of everything, whatever it does not name has vanished without a word.
BURY_UNNAMED = """
UPDATE transactions SET removed_at = now(), updated_at = now()
WHERE item_id = :item_id AND removed_at IS NULL AND NOT EXISTS (
    SELECT FROM staged_transactions AS staged
    WHERE staged.run_id = :run_id AND staged.transaction_id = transactions.transaction_id AND NOT staged.gone
)
"""
COUNT = "SELECT count(*) FROM staged_transactions WHERE run_id = :run_id"
EMPTY = b'{"added":[],"modified":[],"removed":[],"accounts":'


class Staged(NamedTuple):
    """What waits in the staging table: a page that holds all accounts, and how many rows there must be."""

    accounts: bytes
    rows: int


async def stage_pages(database: Database, run_id: UUID, pages: Pages) -> Staged:
    """Make the rows of all pages ready, a short transaction each."""
    accounts: dict[bytes, msgspec.Raw] = {}
    rows = 0
    for body in pages:
        accounts |= {bytes(account): account for account in loose_page(body).accounts}
        async with database.connection() as connection:
            rows += (await execute_on_pages(connection, STAGE, [(run_id, body)])).scalar_one()
    return Staged(EMPTY + msgspec.json.encode(list(accounts.values())) + b"}", rows)


async def move_staged(
    connection: AsyncConnection, item_id: UUID, run_id: UUID, staged: Staged, *, is_full_pull: bool
) -> None:
    """Put a run's staged rows in their place, in the caller's transaction, which holds the run's row already.

    Raises:
        RetryLaterError: `STAGED_ROWS_LOST`: some are missing, since PostgreSQL restarted and emptied the table, or
            the sweep took this run for lost.
    """
    found = (await connection.execute(text(COUNT), {"run_id": run_id})).scalar_one()
    if found != staged.rows:
        raise RetryLaterError("STAGED_ROWS_LOST")
    given = {"item_id": item_id, "run_id": run_id}
    if is_full_pull:
        await connection.execute(text(BURY_UNNAMED), given)
    await connection.execute(_move(), given)


async def unstage(database: Database, run_id: UUID) -> None:
    """Remove a run's staged rows. If that fails the sweep does it: what was committed before stays a success."""
    try:
        async with database.connection() as connection:
            await connection.execute(delete(STAGED).where(STAGED.c.run_id == run_id))
    except (SQLAlchemyError, OSError) as error:
        log.warning("staged_rows_left", run_id=str(run_id), error=type(error).__name__)


@cache
def _move() -> TextClause:
    return text(MOVE.format(**parts(), born_removed=born_removed(":item_id", of_one_item=True)))
