import base64
import binascii
import hashlib
from dataclasses import dataclass, replace

from simulator.bank.ledger import Span

_PREFIX = b"\x08\x01\x12"
_DIGEST_BYTES = 6
_FIELDS = 9


class UnreadableCursorError(ValueError):
    """The text was never given out as a cursor."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in an Item's update log.

    `pinned` is the ledger's revision that a middle page was cut against, -1 outside a loop. `epoch` lets a fault
    outdate every earlier cursor. `order` is how the loop sorts its updates. `hop` tells two cursors of one place apart.
    """

    item_id: str
    epoch: int
    account_id: str = ""
    start: int = 0
    floor: int = 0
    pinned: int = -1
    offset: int = 0
    order: int = 0
    hop: int = 0

    @property
    def mid_loop(self) -> bool:
        """Whether this cursor only makes sense within the loop that gave it out."""
        return self.pinned >= 0

    def span(self) -> Span:
        """Return the updates that this cursor's loop walks through."""
        return Span(self.start, self.floor, self.account_id, self.order)

    def after_page(self, offset: int, revision: int) -> "Cursor":
        """Return the cursor behind a page that has successors."""
        return replace(self, pinned=revision, offset=offset, hop=self.hop + 1)

    def after_loop(self, head: int) -> "Cursor":
        """Return the cursor behind a loop's last page."""
        return replace(self, start=head, pinned=-1, offset=0, order=0, hop=0)

    def text(self) -> str:
        """Return it as opaque base64 of at most 256 characters."""
        numbers = (self.epoch, self.start, self.floor, self.pinned, self.offset, self.order, self.hop)
        body = "|".join((self.item_id, self.account_id, *map(str, numbers))).encode()
        return base64.b64encode(_PREFIX + _digest(body) + body).decode()


def read_cursor(text: str) -> Cursor:
    """Return the cursor that `text` stands for; UnreadableCursorError unless `Cursor.text` made it."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnreadableCursorError from error
    head, body = raw[: len(_PREFIX) + _DIGEST_BYTES], raw[len(_PREFIX) + _DIGEST_BYTES :]
    fields = body.decode("latin-1").split("|")
    if head != _PREFIX + _digest(body) or len(fields) != _FIELDS:
        raise UnreadableCursorError
    epoch, *numbers = map(int, fields[2:])
    return Cursor(fields[0], epoch, fields[1], *numbers)


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()
