from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

import msgspec

from simulator.bank.clock import Clock
from simulator.bank.generation import TransactionSource, make_accounts
from simulator.bank.identifiers import Identifiers
from simulator.bank.item import DYNAMIC_USER, NOT_READY, Item
from simulator.bank.merchants import INSTITUTIONS, Institution
from simulator.errors import invalid_input, item_not_found

PUBLIC_TOKEN_LIFE = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class LinkSession:
    """What a link token was made for: a new Item, or an old one in update mode."""

    expiration: datetime
    item: Item | None
    webhook: str | None
    products: list[str]
    days_requested: int


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What Plaid does not publish.

    A replaced token is `ITEM_NOT_FOUND`, or, when it counts as unknown, `INVALID_ACCESS_TOKEN`; cursors outlive the
    token that they were given to, or not.
    """

    replaced_token_is_unknown: bool = False
    cursors_survive: bool = True


class World:
    """Everything that the simulator knows: Items by id and by token, and what is on its way to become one."""

    def __init__(self, seed: int | None = None) -> None:
        self.identifiers = Identifiers(seed)
        # A stream of their own: how many requests come shall not change which Items a seed makes.
        self.request_ids = Identifiers(None if seed is None else seed + 1)
        self.clock = Clock()
        self.random = Random(seed)  # noqa: S311 - made-up data, repeatable by its seed; no secret
        self.items: dict[str, Item] = {}
        self.links: dict[str, LinkSession] = {}
        self.policy = Policy()
        self._by_token: dict[str, Item] = {}
        self._replaced: set[str] = set()
        self._public_tokens: dict[str, tuple[Item, datetime]] = {}

    def add_item(
        self,
        transactions: int,
        accounts: int = 2,
        *,
        institution: Institution | None = None,
        webhook: str | None = None,
        username: str = DYNAMIC_USER,
    ) -> Item:
        """Link a new Item whose whole history of `transactions` is still at its bank, in the backlog."""
        item = Item(
            self.identifiers.plaid_id(),
            self.identifiers.token("access"),
            institution or self.random.choice(INSTITUTIONS),
            make_accounts(self.identifiers, accounts),
            webhook,
            username,
            self.clock.now(),
            status=NOT_READY,
        )
        item.backlog = self.source().history(item.accounts, transactions)
        self.items[item.item_id] = self._by_token[item.access_token] = item
        return item

    def source(self) -> TransactionSource:
        """Return a supply of transactions."""
        return TransactionSource(self.random, self.identifiers, self.clock.today())

    def find(self, token: Any) -> Item | None:
        """Return the Item of an access token, removed or not, if there is one."""
        return self._by_token.get(token) if isinstance(token, str) else None

    def by_token(self, token: str) -> Item:
        """Return the Item of an access token; PlaidError when it is unknown, replaced or its Item removed."""
        if not token.startswith("access-sandbox-"):
            raise invalid_input("INVALID_ACCESS_TOKEN", "provided access token is in an invalid format")
        item = self._by_token.get(token)
        if item is not None and not item.removed:
            return item
        if item is not None or (token in self._replaced and not self.policy.replaced_token_is_unknown):
            raise item_not_found()
        raise invalid_input("INVALID_ACCESS_TOKEN", "could not find matching access token")

    def replace_token(self, item: Item) -> str:
        """Give the Item a new access token; the old one is dead at once."""
        del self._by_token[item.access_token]
        self._replaced.add(item.access_token)
        if not self.policy.cursors_survive:
            item.epoch += 1
        item.access_token = self.identifiers.token("access")
        self._by_token[item.access_token] = item
        return item.access_token

    def public_token(self, item: Item) -> str:
        """Return a token that can be exchanged once, within half an hour."""
        token = self.identifiers.token("public")
        self._public_tokens[token] = (item, self.clock.now() + PUBLIC_TOKEN_LIFE)
        return token

    def exchange(self, public_token: str) -> Item:
        """Return the Item of a public token and use the token up; PlaidError when that can't be done."""
        item, expires_at = self._public_tokens.pop(public_token, (None, self.clock.now()))
        if item is None:
            raise invalid_input("INVALID_PUBLIC_TOKEN", "could not find matching public token")
        if expires_at <= self.clock.now():
            expired = "provided public token is expired. Public tokens expire 30 minutes after creation"
            raise invalid_input("INVALID_PUBLIC_TOKEN", expired)
        return item
