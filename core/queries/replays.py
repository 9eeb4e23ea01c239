from dataclasses import dataclass

from sqlalchemy import select

from core.database import Database
from core.models import Replay, ReplayStatus
from core.queries.pages import Page, fetch_page
from core.sync.replay.record import SHOWN, with_progress


@dataclass(frozen=True, slots=True)
class ReplayFilter:
    """What a replay must fit; None fits all."""

    status: ReplayStatus | None = None
    asked_by: str | None = None


async def find_replays(database: Database, wanted: ReplayFilter, limit: int, cursor: str | None = None) -> Page:
    """Return a page of replays with their progress; ids are in order of time, so they lead."""
    query = select(*SHOWN)
    for name in ("status", "asked_by"):
        if (value := getattr(wanted, name)) is not None:
            query = query.where(getattr(Replay, name) == value)
    page = await fetch_page(database, query, [Replay.id], limit, cursor)
    return Page(await with_progress(database, page.data), page.next_cursor)
