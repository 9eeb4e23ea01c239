import datetime as dt
from uuid import UUID

from pydantic import ConfigDict, Field

from core.models import ItemStatus
from web.schemas.syncs import Run
from web.schemas.words import LongWord, Money, Request, Shape, Word

ITEM_ID = "0199f3c1-6f0a-7c41-9d3e-2b6c8f0a1d22"


class LinkTokenRequest(Request):
    """Asks for a token to open Link with; `item_id` opens update mode, which repairs that Item."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"user_id": "u1"}]})

    user_id: Word = Field(description="Your id of the user.")
    item_id: UUID | None = None
    select_accounts: bool = Field(default=False, description="In update mode: let the user choose accounts again.")


class LinkToken(Shape):
    """Opens Link, once."""

    link_token: str = Field(examples=["link-sandbox-0b1c"])
    expiration: dt.datetime


class AccountHint(Request):
    """An account as Link's onSuccess tells it."""

    name: Word = Field(examples=["Checking"])
    mask: Word | None = Field(None, examples=["0000"])


class LinkItemRequest(Request):
    """Hands over what Link's onSuccess gave. With institution and accounts a duplicate is told before the exchange."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "user_id": "u1",
                    "public_token": "public-sandbox-5f0c",
                    "institution_id": "ins_109508",
                    "accounts": [{"name": "Checking", "mask": "0000"}],
                }
            ]
        }
    )

    user_id: Word = Field(description="Your id of the user.")
    public_token: LongWord = Field(description="Good for half an hour, and once.")
    institution_id: Word | None = None
    accounts: list[AccountHint] = Field(default_factory=list, max_length=100)
    allow_duplicate: bool = Field(default=False, description="Link even what the user has linked already.")


class SyncRequest(Request):
    """How a sync shall be done."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"refresh": False}]})

    refresh: bool = Field(
        default=False, description="Have Plaid ask the bank first; takes seconds, a paid add-on of Plaid's."
    )
    repaired: bool = Field(default=False, description="The user has just been through Link's update mode.")


class Accepted(Shape):
    """It is durable, and will be done."""

    status: str = Field(examples=["queued"])
    item_id: UUID = Field(examples=[ITEM_ID])


class ItemSummary(Shape):
    """An Item: a user's log-in at a bank, and its health."""

    id: UUID = Field(examples=[ITEM_ID])
    user_id: str = Field(examples=["u1"])
    plaid_item_id: str
    institution_id: str | None = Field(examples=["ins_109508"])
    status: ItemStatus
    error_type: str | None
    error_code: str | None = Field(examples=["ITEM_LOGIN_REQUIRED", None])
    consecutive_failures: int
    last_synced_at: dt.datetime | None
    next_sync_at: dt.datetime | None = Field(description="When the schedule looks next; null if it does not.")
    access_ends_at: dt.datetime | None = Field(description="Announced by Plaid: consent runs out then.")
    access_ends_reason: str | None
    new_accounts_at: dt.datetime | None = Field(description="Since when the bank has accounts not shared with us.")
    created_at: dt.datetime


class Account(Shape):
    """An account with the balances that Plaid told last."""

    account_id: str
    persistent_account_id: str | None
    name: str = Field(examples=["Checking"])
    official_name: str | None
    mask: str | None = Field(examples=["0000"])
    type: str = Field(examples=["depository"])
    subtype: str | None
    balance_available: Money | None
    balance_current: Money | None
    balance_limit: Money | None
    iso_currency_code: str | None = Field(examples=["USD"])
    unofficial_currency_code: str | None
    revoked_at: dt.datetime | None


class Removal(Shape):
    """A removal: done when Plaid has agreed."""

    removed_at: dt.datetime | None
    attempts: int
    error_code: str | None


class Item(ItemSummary):
    """An Item with its accounts, its last runs and its removal, if one was asked for."""

    accounts: list[Account]
    transactions: int = Field(description="How many stand.")
    runs: list[Run]
    removal: Removal | None
