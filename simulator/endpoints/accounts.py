"""The endpoints of /accounts."""

from typing import Any

import msgspec

from simulator.bank.item import Item
from simulator.endpoints.endpoint import ItemRequest
from simulator.errors import invalid_input
from simulator.responses import item_document
from simulator.simulator import Simulator


class AccountsOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which accounts."""

    account_ids: list[str] | None = None


class AccountsRequest(ItemRequest, frozen=True):
    """Asks for accounts as they were last seen."""

    options: AccountsOptions = AccountsOptions()


class BalanceOptions(AccountsOptions, frozen=True):
    """Which accounts, and how fresh; here all balances are."""

    min_last_updated_datetime: str | None = None


class BalanceRequest(ItemRequest, frozen=True):
    """Asks for balances of now."""

    options: BalanceOptions = BalanceOptions()


async def accounts_get(simulator: Simulator, asked: AccountsRequest | BalanceRequest) -> dict[str, Any]:
    """Answer /accounts/get and /accounts/balance/get."""
    item = simulator.world.by_token(asked.access_token)
    item.require_login()
    return {"accounts": _chosen(item, asked.options.account_ids), "item": item_document(item)}


def _chosen(item: Item, account_ids: list[str] | None) -> list[dict[str, Any]]:
    if account_ids is None:
        return item.accounts
    found = [account for account in item.accounts if account["account_id"] in account_ids]
    if len(found) != len(set(account_ids)):
        raise invalid_input(
            "INVALID_ACCOUNT_ID", "one or more of the requested account IDs does not exist for this item"
        )
    return found
