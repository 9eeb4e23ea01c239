import base64
from random import Random
from uuid import UUID

_LETTERS = bytes.maketrans(b"+/", b"xQ")


class Identifiers:
    """Draws every identifier from one stream, so that no two Items ever share one, whatever their seeds."""

    def __init__(self, seed: int | None) -> None:
        self._random = Random(seed)  # noqa: S311 - made-up data, repeatable by its seed; no secret

    def plaid_id(self) -> str:
        """An Item, account or transaction id in Plaid's form: 36 letters and digits."""
        return base64.b64encode(self._random.randbytes(27)).translate(_LETTERS).decode()

    def short_id(self) -> str:
        """A request id: 15 characters."""
        return self.plaid_id()[:15]

    def token(self, kind: str) -> str:
        """An `access`, `public` or `link` token of the sandbox."""
        return f"{kind}-sandbox-{UUID(bytes=self._random.randbytes(16), version=4)}"
