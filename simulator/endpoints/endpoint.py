"""An endpoint of Plaid's: the fields that it takes, and what it does."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import msgspec

from simulator.errors import PlaidError, invalid_field, invalid_request, missing_fields
from simulator.simulator import Simulator

_MISSING = re.compile(r"missing required field `(\w+)`")
_UNKNOWN = re.compile(r"unknown field `(.*)`")
_WRONG = re.compile(r"Expected (.+?)(?:, got .+)? - at `\$\.?(.*)`")


class PlaidRequest(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What every request may carry; the keys may as well come in headers."""

    client_id: str | None = None
    secret: str | None = None


class ItemRequest(PlaidRequest, frozen=True, kw_only=True):
    """A request about the Item of a token."""

    access_token: str


Asked = TypeVar("Asked", bound=PlaidRequest)


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[Asked]):
    """Reads a request strictly, as Plaid does, and answers it with a document or ready bytes."""

    request: type[Asked]
    function: Callable[[Simulator, Asked], Awaitable[dict[str, Any] | bytes]]

    async def answer(self, simulator: Simulator, body: bytes) -> dict[str, Any] | bytes:
        """Return the answer; PlaidError when a field is missing, unknown or wrong, or the endpoint refuses."""
        try:
            asked = msgspec.json.decode(body, type=self.request)
        except msgspec.ValidationError as error:
            raise _in_plaids_words(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise invalid_request("INVALID_BODY", "body could not be parsed as JSON") from None
        return await self.function(simulator, asked)


def web_address(name: str, url: str | None) -> str | None:
    """Return the address, None for none; PlaidError when it is none that a webhook could be sent to."""
    if not url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise invalid_field(f"{name} must be a valid http or https URL")
    return url


def _in_plaids_words(problem: str) -> PlaidError:
    if found := _MISSING.search(problem):
        return missing_fields(found[1])
    if found := _UNKNOWN.search(problem):
        names = f"the following fields are not recognized by this endpoint: {found[1]}"
        return invalid_request("UNKNOWN_FIELDS", names)
    if found := _WRONG.search(problem):
        return invalid_field(f"{found[2] or 'body'} must be {found[1].replace('`', '')}")
    return invalid_field(problem)
