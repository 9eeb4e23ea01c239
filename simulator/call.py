"""One request and what is answered to it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from simulator.bank.cursors import UnreadableCursorError, read_cursor
from simulator.bank.item import Item
from simulator.errors import PlaidError
from simulator.json_codec import decode, encode

SYNC_PATH = "/transactions/sync"
JSON = "application/json"
OK = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; `cut_after` is the number of body bytes after which the connection is cut."""

    body: bytes
    status: int = OK
    media_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None

    def document(self) -> dict[str, Any]:
        """Return the body as JSON, to be altered."""
        found: dict[str, Any] = decode(self.body)
        return found


# No answer at all, `None`, is a connection that is cut before its first byte.
Proceed = Callable[[], Awaitable[Answer | None]]


class Peek(msgspec.Struct):
    """What concerns every endpoint alike, read before an endpoint checks its own fields."""

    access_token: Any = None
    cursor: Any = None
    client_id: Any = None
    secret: Any = None
    options: Any = None


@dataclass(slots=True)
class Call:
    """A request as it came, with the Item it is about when its token names one."""

    path: str
    body: bytes
    headers: dict[str, str]
    request_id: str
    peek: Peek
    item: Item | None
    gone: Callable[[], Awaitable[None]]

    @property
    def item_id(self) -> str | None:
        """The Item's id, if the request is about one."""
        return None if self.item is None else self.item.item_id

    def account_id(self) -> str:
        """Return the account whose own stream is asked for, if it is one's."""
        options = self.peek.options
        account_id = options.get("account_id") if isinstance(options, dict) else None
        return account_id if isinstance(account_id, str) else ""

    def is_mid_loop(self) -> bool:
        """Tell whether this asks for a page after the first of a loop of /transactions/sync."""
        try:
            return isinstance(self.peek.cursor, str) and read_cursor(self.peek.cursor).mid_loop
        except UnreadableCursorError:
            return False


def refusal(error: PlaidError, request_id: str) -> Answer:
    """Return Plaid's error object as an answer."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return Answer(encode(error.document() | {"request_id": request_id}), error.status, headers=headers)
