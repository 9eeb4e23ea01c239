"""Fetches every page of one update before any of it is applied, as Plaid asks, without holding it in memory.

Source: Plaid, /transactions/sync and "Transactions Sync mutation during pagination".
"""

import asyncio
import struct
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self

from core.errors import RestartPaginationError, RetryLaterError
from core.identity import jittered
from core.plaid.schemas import SyncPage, decode_page

MAX_RESTARTS = 5
RESTART_SECONDS = 0.1
MEMORY_BYTES = 16 * 1024 * 1024
LENGTH = struct.Struct(">I")


class PageSource(Protocol):
    """Where pages come from."""

    async def transactions_sync(self, access_token: str, cursor: str | None) -> bytes:
        """Return the raw page after `cursor`."""


class Pages:
    """The raw pages of one update in order; beyond 16 MB they wait in an unnamed file.

    `next_cursor` is the last page's, None when Plaid gave none: then the old one stays.
    """

    def __init__(self, restarts: int) -> None:
        # Closed by __exit__: the pages outlive the loop that fetches them.
        self._spool = tempfile.SpooledTemporaryFile(MEMORY_BYTES)  # noqa: SIM115
        self.next_cursor: str | None = None
        self.request_id: str | None = None
        self.restarts = restarts
        self.count = self.added = self.modified = self.removed = 0

    def append(self, body: bytes, page: SyncPage) -> None:
        """Keep a page."""
        # A page without any update says nothing: what it does not hold need not be read again.
        if page.added or page.modified or page.removed or page.accounts:
            self._spool.write(LENGTH.pack(len(body)) + body)
        self.count += 1
        self.added += len(page.added)
        self.modified += len(page.modified)
        self.removed += len(page.removed)
        self.next_cursor = page.next_cursor or None
        self.request_id = page.request_id

    def __iter__(self) -> Iterator[bytes]:
        self._spool.seek(0)
        while header := self._spool.read(LENGTH.size):
            yield self._spool.read(*LENGTH.unpack(header))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spool.close()


async def fetch_pages(plaid: PageSource, token: str, cursor: str | None) -> Pages:
    """Return all pages after `cursor`, the last with `has_more = false`; close them when they are applied.

    When the data changes between two pages, everything fetched is thrown away and the loop begins again at
    `cursor`, up to five times: its later cursors would fail for ever.

    Raises:
        SyncError: Plaid's, or ours for pages that lead nowhere.
    """
    for restarts in range(MAX_RESTARTS + 1):
        pages = Pages(restarts)
        try:
            await _walk(plaid, token, cursor, pages)
        except RestartPaginationError as error:
            pages.__exit__(None, None, None)
            last = error
            await asyncio.sleep(jittered(RESTART_SECONDS * 2**restarts, 0.5))
        except BaseException:
            pages.__exit__(None, None, None)
            raise
        else:
            return pages
    raise RetryLaterError(last.error_code, error_type=last.error_type, request_id=last.request_id)


async def _walk(plaid: PageSource, token: str, cursor: str | None, pages: Pages) -> None:
    while True:
        body = await plaid.transactions_sync(token, cursor)
        page = decode_page(body)
        pages.append(body, page)
        if not page.has_more:
            return
        if pages.next_cursor in {None, cursor}:
            raise RetryLaterError("PAGINATION_DOES_NOT_ADVANCE", request_id=page.request_id)
        cursor = pages.next_cursor
