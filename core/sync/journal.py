"""The page journal: what Plaid said, sealed, so that a run which failed after it was told can be applied again.

Written before the commit and apart from it: the pages of a run that failed are those wanted most. Off by default, and
then nothing happens here at all.
"""

import asyncio
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, date
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import delete, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from core.database import Database
from core.encryption.cipher import context_of
from core.encryption.keyring import Keyring, current_keyring
from core.errors import EncryptionError
from core.models import JournalPage
from core.models.journal_page import HEAD
from core.plaid.schemas import Rejected
from core.resources import Resources
from core.sync.pages import Pages
from core.sync.runs import OpenRun

log = structlog.get_logger()

# A batch is one short transaction, and what one run holds in memory.
BATCH_BYTES = 4 * 1024 * 1024
# An update larger than this is pulled again rather than kept: about 150,000 transactions.
MOST_BYTES = 256 * 1024 * 1024
# The fastest: the pages are JSON that says the same words again and again.
COMPRESSION = 1
MEGABYTE = 1024 * 1024

ROOM = "SELECT pg_total_relation_size(ensure_journal_partition(CAST(:recorded_on AS date)))"
# Only for the Item as the run read it. The share lock makes a removal wait, so that it finds every page; a rival that
# committed first, or the removal itself, leaves nothing to record.
WRITE = """
WITH item AS (
    SELECT id FROM plaid_items
    WHERE id = :item_id AND version = :version AND status NOT IN ('revoked', 'removed') FOR SHARE
)
INSERT INTO journal_pages (item_id, run_id, page, recorded_on, version, key_id, body)
SELECT item.id, :run_id, given.page, CAST(:recorded_on AS date), CAST(:version AS int), :key_id, given.body
FROM unnest(CAST(:pages AS int[]), CAST(:bodies AS bytea[])) AS given (page, body), item
"""


class Head(msgspec.Struct, frozen=True):
    """What is known of an update beside its pages."""

    pages: int
    next_cursor: str | None
    request_id: str | None
    update_status: str | None
    restarts: int
    is_full_pull: bool
    count: int
    added: int
    modified: int
    removed: int
    rejected: list[Rejected]

    @classmethod
    def of(cls, pages: Pages) -> "Head":
        """Return the head of an update that was fetched whole."""
        told = {name: getattr(pages, name) for name in cls.__struct_fields__ if name != "pages"}
        return cls(pages.kept, **told)

    def onto(self, pages: Pages) -> None:
        """Put what is known onto pages that were read back."""
        for name in self.__struct_fields__:
            if name != "pages":
                setattr(pages, name, getattr(self, name))
        pages.is_recorded = True


class Place(msgspec.Struct, frozen=True):
    """Where a run's pages stand: whose they are, of which day, and which version of the Item they follow."""

    item_id: UUID
    run_id: UUID
    recorded_on: date
    version: int

    def context(self, page: int) -> bytes:
        """Return what a page's envelope is bound to."""
        return context_of("journal_pages", "body", self.item_id, self.run_id, page, self.version)


async def record_pages(resources: Resources, run: OpenRun, pages: Pages) -> None:
    """Keep the pages of an update until its day's retention; with `PAGE_JOURNAL_DAYS` 0, do nothing.

    It never fails a sync: what cannot be kept is told in the log.
    """
    if not resources.settings.page_journal_days or not pages.kept:
        return
    facts = {"item_id": str(run.item.id), "run_id": str(run.id), "bytes": pages.bytes}
    place = Place(run.item.id, run.id, run.started_at.astimezone(UTC).date(), run.item.version)
    most = resources.settings.page_journal_max_mb * MEGABYTE
    try:
        if pages.bytes > MOST_BYTES or not await _has_room(resources.database, place, most):
            log.warning("pages_not_recorded", reason="no_room", **facts)
            return
        await _write_all(resources.database, place, pages)
    except (DBAPIError, EncryptionError) as error:
        log.warning("pages_not_recorded", reason=type(error).__name__, **facts)


async def _has_room(database: Database, place: Place, most: int) -> bool:
    async with database.connection() as connection:
        size: int = (await connection.execute(text(ROOM), {"recorded_on": place.recorded_on})).scalar_one()
    return size < most


async def _write_all(database: Database, place: Place, pages: Pages) -> None:
    for batch in _batches(pages):
        if not await _write(database, place, batch):
            return


def _batches(pages: Pages) -> Iterator[list[tuple[int, bytes]]]:
    """Yield pages with their numbers, a few at a time; the head is in the last batch: where it stands, all pages do."""
    batch: list[tuple[int, bytes]] = []
    held = 0
    for number, body in enumerate(pages, HEAD + 1):
        if batch and held + len(body) > BATCH_BYTES:
            yield batch
            batch, held = [], 0
        batch.append((number, body))
        held += len(body)
    yield [*batch, (HEAD, msgspec.msgpack.encode(Head.of(pages)))]


async def _write(database: Database, place: Place, batch: list[tuple[int, bytes]]) -> bool:
    """Write pages for the Item as it was read, and tell whether it still is so."""
    keyring = current_keyring()
    # zlib and OpenSSL let the loop go on meanwhile.
    sealed = await asyncio.to_thread(_seal, keyring, place, batch)
    values = msgspec.structs.asdict(place) | {
        "key_id": keyring.primary.key_id,
        "pages": [number for number, _ in batch],
        "bodies": sealed,
    }
    async with database.connection() as connection:
        return (await connection.execute(text(WRITE), values)).rowcount > 0


def _seal(keyring: Keyring, place: Place, batch: list[tuple[int, bytes]]) -> list[bytes]:
    return [keyring.seal_bytes(zlib.compress(body, COMPRESSION), place.context(number)) for number, body in batch]


async def read_pages(database: Database, place: Place) -> Pages:
    """Return a run's recorded pages as they were fetched; close them when they are applied.

    Raises:
        EncryptionError: a page is missing, or does not open.
    """
    head = msgspec.msgpack.decode(await _open(database, place, HEAD), type=Head)
    pages = Pages()
    try:
        for number in range(HEAD + 1, HEAD + 1 + head.pages):
            pages.keep(await _open(database, place, number))
        head.onto(pages)
    except BaseException:
        pages.close()
        raise
    return pages


async def _open(database: Database, place: Place, number: int) -> bytes:
    page = JournalPage
    mine = (page.item_id == place.item_id, page.run_id == place.run_id, page.recorded_on == place.recorded_on)
    async with database.connection() as connection:
        found = await connection.execute(select(page.body).where(*mine, page.page == number))
        sealed = found.scalar_one_or_none()
    if sealed is None:
        raise EncryptionError(f"page {number} of the run {place.run_id} is not in the journal any more")
    return zlib.decompress(current_keyring().open_bytes(sealed, place.context(number)))


async def forget_pages(execute: AsyncSession | AsyncConnection, item_ids: Sequence[UUID]) -> None:
    """Delete what was recorded of these Items, in the caller's transaction, which holds their rows."""
    await execute.execute(delete(JournalPage).where(JournalPage.item_id.in_(item_ids)))
