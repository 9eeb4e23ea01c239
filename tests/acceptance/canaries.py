"""Looks for secrets in whatever bytes there are: as they are, encoded, reversed, and by halves."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

SHORTEST_HALF = 8


@dataclass(frozen=True)
class Canary:
    """A secret that nothing may show; its name is what a finding tells."""

    name: str
    secret: bytes

    def forms(self) -> Iterator[tuple[str, bytes]]:
        """Yield the ways in which a secret leaks that nobody sees at once."""
        for kind, value in self._values():
            yield kind, value
            yield f"{kind}, hex", value.hex().encode()
            yield f"{kind}, HEX", value.hex().upper().encode()
            for offset in range(3):
                yield f"{kind}, base64 at {offset}", _base64_core(value, offset)
                yield f"{kind}, base64url at {offset}", _base64_core(value, offset).translate(_URL)
        yield "quoted", quote(self.secret, safe="").encode()
        yield "form-encoded", quote_plus(self.secret).encode()
        yield "reversed", self.secret[::-1]
        middle = len(self.secret) // 2
        for kind, half in (("first half", self.secret[:middle]), ("second half", self.secret[middle:])):
            if len(half) >= SHORTEST_HALF:
                yield kind, half
                yield f"{kind} reversed", half[::-1]

    def _values(self) -> Iterator[tuple[str, bytes]]:
        yield "text", self.secret
        try:
            decoded = base64.urlsafe_b64decode(self.secret + b"=" * (-len(self.secret) % 4))
        except ValueError:
            return
        if len(decoded) == KEY_BYTES:
            yield "key", decoded


KEY_BYTES = 32
_URL = bytes.maketrans(b"+/", b"-_")


def _base64_core(value: bytes, offset: int) -> bytes:
    """Return the letters that stand for `value` alone, wherever it begins in what is encoded."""
    letters = base64.b64encode(bytes(offset) + value)
    return letters[-(-offset * 8 // 6) : (offset + len(value)) * 8 // 6]


def find(canaries: list[Canary], places: Mapping[str, bytes]) -> list[tuple[str, str, str]]:
    """Return every place, the canary that shows there, and in which form."""
    found = []
    for canary in canaries:
        forms = dict(canary.forms())
        found += [
            (place, canary.name, form) for place, content in places.items() for form in forms if forms[form] in content
        ]
    return found
