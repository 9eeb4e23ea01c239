"""Reads sealed events in the order of the chain, in ranges, past SQLAlchemy's result processing."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from core.audit.chain import SealedEvent, content_of
from core.database import Database

RANGE = 5000
# An event may be sealed before it happened, by the clocks of two hosts; this much is allowed for.
CLOCK_SKEW = timedelta(hours=1)
# jsonb as text: SQLAlchemy's codec on the connection would decode it with the slower json.loads.
COLUMNS = "seq, sealed_at, event_id, event_type, occurred_at, actor, resource, message, context::text, prev_hash, hash"
# A range, not a limit: a number that stands there twice must not hide behind the end of a batch.
IN_RANGE = f"SELECT {COLUMNS} FROM audit_events WHERE seq > $1 AND seq <= $2"  # noqa: S608 - constants
FILTERED = f"""{IN_RANGE}
AND ($3::text[] IS NULL OR event_type = ANY($3))
AND ($4::timestamptz IS NULL OR (occurred_at >= $4 AND sealed_at >= $5))
AND ($6::timestamptz IS NULL OR occurred_at < $6)
"""
ENDS = "SELECT coalesce(min(seq), 1) - 1, coalesce(max(seq), 0) FROM audit_events"
NEWEST = f"""
SELECT {COLUMNS} FROM audit_events WHERE $1::text[] IS NULL OR event_type = ANY($1) ORDER BY seq DESC LIMIT $2
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events are wanted; `since` is included, `until` is not, both are when it happened."""

    types: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def parameters(self) -> tuple[Any, ...]:
        """The parameters 3 to 6 of `FILTERED`."""
        types = None if self.types is None else list(self.types)
        sealed_since = None if self.since is None else self.since - CLOCK_SKEW
        return types, self.since, sealed_since, self.until


EVERYTHING = Selection()


async def driver(connection: AsyncConnection) -> Any:
    """Return asyncpg's connection below SQLAlchemy's, in whose transaction it stays."""
    return (await connection.get_raw_connection()).driver_connection


async def read_range(connection: AsyncConnection, after: int, upto: int) -> list[SealedEvent]:
    """Return the events numbered `after` + 1 to `upto`, in order; jsonb comes as text and is decoded here."""
    records = await (await driver(connection)).fetch(f"{IN_RANGE} ORDER BY seq, sealed_at", after, upto)
    return as_events(records)


async def read_newest(database: Database, count: int, types: tuple[str, ...] | None = None) -> list[SealedEvent]:
    """Return the last `count` events, oldest first."""
    async with database.connection() as connection:
        records = await (await driver(connection)).fetch(NEWEST, None if types is None else list(types), count)
    return as_events(records)[::-1]


async def read_selected(
    database: Database, selection: Selection = EVERYTHING, *, after: int = 0
) -> AsyncIterator[list[SealedEvent]]:
    """Yield the selected events from `after` + 1 to the present end, in ranges, each in a transaction of its own."""
    async with database.connection() as connection:
        first, last = await (await driver(connection)).fetchrow(ENDS)
    for start in range(max(first, after), last, RANGE):
        async with database.connection() as connection:
            upto = min(start + RANGE, last)
            query = f"{FILTERED} ORDER BY seq, sealed_at"
            records = await (await driver(connection)).fetch(query, start, upto, *selection.parameters)
        yield as_events(records)


def as_events(records: Sequence[Any]) -> list[SealedEvent]:
    """Return asyncpg's records of `COLUMNS` as events."""
    return [
        SealedEvent(record[0], record[1], content_of(record[2:8], record[8]), record[9], record[10])
        for record in records
    ]
