"""Tells whether a user has linked the same accounts before, as Plaid advises: institution, name and mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from core.items.access import GONE
from core.models import Account, PlaidItem
from core.plaid.endpoints import LinkedAccount


@dataclass(frozen=True, slots=True)
class AccountHint:
    """What tells one account from another: Plaid's persistent id where the bank has one, else name and mask."""

    name: str
    mask: str | None = None
    persistent_account_id: str | None = None

    @classmethod
    def of(cls, account: LinkedAccount) -> "AccountHint":
        """Return the hint of an account that Plaid has described."""
        return cls(account.name, account.mask, account.persistent_account_id)

    def fits(self, other: "AccountHint") -> bool:
        """Tell whether both are the same account; without a mask a name alone says nothing."""
        if self.persistent_account_id and other.persistent_account_id:
            return self.persistent_account_id == other.persistent_account_id
        return self.mask is not None and (self.name, self.mask) == (other.name, other.mask)


async def find_duplicate(
    session: AsyncSession, user_id: str, institution_id: str, hints: Sequence[AccountHint], new: UUID | None
) -> UUID | None:
    """Return the user's oldest standing Item at the institution that has one of the accounts, `new` itself apart."""
    query = (
        select(PlaidItem.id, Account.name, Account.mask, Account.persistent_account_id)
        .join(Account, Account.item_id == PlaidItem.id)
        .where(PlaidItem.user_id == user_id, PlaidItem.institution_id == institution_id)
        .where(PlaidItem.status.not_in(GONE), PlaidItem.id.is_distinct_from(new))
        .order_by(PlaidItem.id)
    )
    for item_id, name, mask, persistent_id in await session.execute(query):
        known = AccountHint(name, mask, persistent_id)
        if any(hint.fits(known) for hint in hints):
            return item_id
    return None


async def add_accounts(session: AsyncSession, item_id: UUID, accounts: Sequence[LinkedAccount]) -> None:
    """Store the accounts of a new Item, so that the next linking can be compared; a sync completes them."""
    for account in accounts:
        values = {"item_id": item_id, **msgspec.to_builtins(account)}
        await session.execute(insert(Account).values(values).on_conflict_do_nothing())
