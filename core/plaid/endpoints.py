"""Plaid's low-volume endpoints, as functions over the client's `post`; each decodes the little that is needed.

Source: Plaid's OpenAPI file, version 2020-09-14. Raises of every function: `SyncError`, with its verdict.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import msgspec

from core.errors import RetryLaterError

T = TypeVar("T")


class Poster(Protocol):
    """What is needed of the client."""

    async def post(self, path: str, body: Mapping[str, Any]) -> bytes:
        """Return the raw body of a 2xx answer."""


class LinkToken(msgspec.Struct):
    """What a browser opens Link with; it lives four hours, or half an hour in update mode."""

    link_token: str
    expiration: dt.datetime

    def __repr__(self) -> str:
        return f"LinkToken(expiration={self.expiration!r})"


class Exchanged(msgspec.Struct):
    """A new Item's id and its access token, which never appears in the repr."""

    access_token: str
    item_id: str

    def __repr__(self) -> str:
        return f"Exchanged(item_id={self.item_id!r})"


class ItemFacts(msgspec.Struct):
    """What Plaid says about an Item."""

    item_id: str
    institution_id: str | None = None
    webhook: str | None = None


class LinkedAccount(msgspec.Struct):
    """The part of an account by which duplicates are told."""

    account_id: str
    name: str
    type: str
    mask: str | None = None
    subtype: str | None = None
    official_name: str | None = None
    persistent_account_id: str | None = None


class ItemAnswer(msgspec.Struct):
    """The answer of /accounts/get: the accounts, and the Item that they are of."""

    item: ItemFacts
    accounts: list[LinkedAccount] = []


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """What Link shall be opened for; with `access_token` in update mode, which keeps Item and token."""

    user_id: str
    client_name: str
    language: str
    country_codes: tuple[str, ...]
    webhook: str | None = None
    days_requested: int | None = None
    access_token: str | None = field(default=None, repr=False)
    select_accounts: bool = False
    redirect_uri: str | None = None

    def body(self) -> dict[str, Any]:
        """Return the request of /link/token/create: update mode takes no products, and ignores the webhook."""
        body: dict[str, Any] = {
            "client_name": self.client_name,
            "language": self.language,
            "country_codes": list(self.country_codes),
            "user": {"client_user_id": self.user_id},
        }
        if self.redirect_uri:
            body["redirect_uri"] = self.redirect_uri
        if self.access_token is not None:
            update = {"update": {"account_selection_enabled": True}} if self.select_accounts else {}
            return {**body, "access_token": self.access_token, **update}
        body["products"] = ["transactions"]
        if self.webhook:
            body["webhook"] = self.webhook
        if self.days_requested:
            body["transactions"] = {"days_requested": self.days_requested}
        return body


async def create_link_token(plaid: Poster, request: LinkRequest) -> LinkToken:
    """Return a fresh link token."""
    return _decode(await plaid.post("/link/token/create", request.body()), LinkToken)


async def exchange_public_token(plaid: Poster, public_token: str) -> Exchanged:
    """Return the access token of what the user has just linked; a public token can be exchanged for half an hour."""
    return _decode(await plaid.post("/item/public_token/exchange", {"public_token": public_token}), Exchanged)


async def get_accounts(plaid: Poster, access_token: str) -> ItemAnswer:
    """Return an Item and its accounts, from Plaid's cache."""
    return _decode(await plaid.post("/accounts/get", {"access_token": access_token}), ItemAnswer)


async def update_webhook(plaid: Poster, access_token: str, webhook: str) -> None:
    """Have an Item's webhooks sent to `webhook`; Plaid acknowledges by a webhook to it."""
    await plaid.post("/item/webhook/update", {"access_token": access_token, "webhook": webhook})


async def refresh_transactions(plaid: Poster, access_token: str) -> None:
    """Have Plaid ask the bank now; a webhook follows if there was something new. A paid add-on."""
    await plaid.post("/transactions/refresh", {"access_token": access_token})


async def remove_item(plaid: Poster, access_token: str) -> None:
    """Have Plaid forget an Item: its token is dead at once, and billing ends."""
    await plaid.post("/item/remove", {"access_token": access_token})


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise RetryLaterError("MALFORMED_ANSWER") from None
