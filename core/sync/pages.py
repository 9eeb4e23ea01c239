"""Fetches every page of one update before any of it is applied, as Plaid asks, without holding it in memory.

Source: Plaid, /transactions/sync and "Transactions Sync mutation during pagination".
"""

import asyncio
import struct
import tempfile
from collections.abc import Coroutine, Iterator
from types import TracebackType
from typing import Any, Protocol, Self

from core.errors import RestartFromEmptyCursorError, RestartPaginationError, RetryLaterError
from core.identity import jittered
from core.plaid.schemas import Rejected, SyncPage, decode_page
from core.sync.schedule import INCOMPLETE

MAX_RESTARTS = 5
RESTART_SECONDS = 0.1
MEMORY_BYTES = 256 * 1024
LENGTH = struct.Struct(">I")


class PageSource(Protocol):
    """Where pages come from."""

    def transactions_sync(self, access_token: str, cursor: str | None) -> Coroutine[Any, Any, bytes]:
        """Return the raw page after `cursor`."""


class Pages:
    """The raw pages of one update in order; beyond 256 kB they wait in an unnamed file.

    `next_cursor` is the last page's, None when Plaid gave none: then the old one stays. `is_full_pull` tells that
    they are everything that Plaid has, so that a row which they do not name is no more.
    """

    def __init__(self, restarts: int = 0, *, is_full_pull: bool = False) -> None:
        # Closed by __exit__: the pages outlive the loop that fetches them.
        self._spool = tempfile.SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115
        self.next_cursor: str | None = None
        self.request_id: str | None = None
        self.update_status: str | None = None
        self.restarts = restarts
        self.is_full_pull = is_full_pull
        # Read back from the journal: they say nothing about how Plaid is now.
        self.is_recorded = False
        self.rejected: list[Rejected] = []
        self.count = self.kept = self.bytes = self.largest = self.added = self.modified = self.removed = 0

    def append(self, body: bytes, page: SyncPage) -> None:
        """Keep a page."""
        # A page without any update says nothing: what it does not hold need not be read again.
        if page.added or page.modified or page.removed or page.accounts:
            self.keep(body)
        self.count += 1
        self.added += len(page.added)
        self.modified += len(page.modified)
        self.removed += len(page.removed)
        self.next_cursor = page.next_cursor or None
        self.request_id = page.request_id
        self.update_status = page.transactions_update_status

    def keep(self, body: bytes) -> None:
        """Keep a body, without looking into it."""
        if len(body) > MEMORY_BYTES:
            # Straight into the file: in memory first it would be copied there and back.
            self._spool.rollover()
        self._spool.write(LENGTH.pack(len(body)))
        self._spool.write(body)
        self.kept += 1
        self.bytes += len(body)
        self.largest = max(self.largest, len(body))

    def replace(self, bodies: list[bytes]) -> None:
        """Put other bodies in the place of those that were kept."""
        self._spool.seek(0)
        self._spool.truncate()
        self.kept = self.bytes = self.largest = 0
        for body in bodies:
            self.keep(body)

    def __iter__(self) -> Iterator[bytes]:
        self._spool.seek(0)
        while header := self._spool.read(LENGTH.size):
            yield self._spool.read(*LENGTH.unpack(header))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the pages."""
        self._spool.close()


async def fetch_pages(plaid: PageSource, token: str, cursor: str | None) -> Pages:
    """Return all pages after `cursor`, the last with `has_more = false`; close them when they are applied.

    When the data changes between two pages, everything fetched is thrown away and the loop begins again at
    `cursor`, up to five times: its later cursors would fail for ever.

    Raises:
        RestartFromEmptyCursorError: Plaid does not accept `cursor` itself, now or after all restarts.
        SyncError: Plaid's, or ours for pages that lead nowhere.
    """
    for restarts in range(MAX_RESTARTS + 1):
        if restarts:
            await asyncio.sleep(jittered(RESTART_SECONDS * 2 ** (restarts - 1), 0.5))
        pages = Pages(restarts)
        try:
            await _walk(plaid, token, cursor, pages)
        except RestartPaginationError as error:
            pages.close()
            last = error
        except BaseException:
            pages.close()
            raise
        else:
            return pages
    # Some Items are refused at every stored cursor; only a pull from the start helps them.
    kind = RestartFromEmptyCursorError if cursor else RetryLaterError
    raise kind(last.error_code, error_type=last.error_type, request_id=last.request_id)


async def fetch_everything(plaid: PageSource, token: str, known_status: str | None) -> Pages:
    """Return all pages from the empty cursor: the whole of what Plaid has.

    `known_status` is how far Plaid had come with the history before. An answer behind it, or without a cursor, is
    not the whole: what it does not name has not vanished.

    Raises:
        RetryLaterError: `HISTORY_INCOMPLETE`.
        SyncError: as `fetch_pages`, without a cursor that could be refused.
    """
    pages = await fetch_pages(plaid, token, None)
    fell_back = pages.update_status in INCOMPLETE and known_status not in {None, *INCOMPLETE}
    if pages.next_cursor is None or fell_back:
        pages.close()
        raise RetryLaterError("HISTORY_INCOMPLETE", request_id=pages.request_id)
    pages.is_full_pull = True
    return pages


async def _walk(plaid: PageSource, token: str, cursor: str | None, pages: Pages) -> None:
    passed = {cursor}
    coming: asyncio.Task[bytes] | None = asyncio.create_task(plaid.transactions_sync(token, cursor))
    try:
        while coming is not None:
            page, body, rejected = decode_page(await coming)
            coming = None
            if page.has_more:
                following = _following(page, passed)
                coming = asyncio.create_task(plaid.transactions_sync(token, following))
                # The next page is on its way while a thread puts this one aside.
                await asyncio.to_thread(pages.append, body, page)
            else:
                pages.append(body, page)
            pages.rejected += rejected
            # What still had a name would stay in memory while the next page is waited for.
            del page, body
    finally:
        if coming is not None:
            coming.cancel()
    if pages.next_cursor is None and pages.added + pages.modified + pages.removed:
        # Rows whose cursor is not known would be told again, but not their removal: Plaid would think us without them.
        raise RetryLaterError("CURSOR_MISSING", request_id=pages.request_id)


def _following(page: SyncPage, passed: set[str | None]) -> str:
    if not page.next_cursor or page.next_cursor in passed:
        raise RetryLaterError("PAGINATION_DOES_NOT_ADVANCE", request_id=page.request_id)
    passed.add(page.next_cursor)
    return page.next_cursor
