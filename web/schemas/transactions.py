import datetime as dt
from typing import Any

from pydantic import Field

from web.schemas.words import Money, Shape


class Transaction(Shape):
    """A transaction as Plaid tells it; positive amounts leave the account. It stands while `removed_at` is null."""

    transaction_id: str
    account_id: str
    amount: Money
    iso_currency_code: str | None = Field(examples=["USD"])
    unofficial_currency_code: str | None
    date: dt.date
    datetime: dt.datetime | None
    authorized_date: dt.date | None
    authorized_datetime: dt.datetime | None
    name: str | None = Field(examples=["CAFE 12"])
    original_description: str | None
    merchant_name: str | None
    merchant_entity_id: str | None
    logo_url: str | None
    website: str | None
    pending: bool
    pending_transaction_id: str | None
    payment_channel: str | None = Field(examples=["in store"])
    transaction_code: str | None
    check_number: str | None
    personal_finance_category_primary: str | None = Field(examples=["FOOD_AND_DRINK"])
    personal_finance_category_detailed: str | None
    personal_finance_category_confidence_level: str | None
    location: Any | None
    payment_meta: Any | None
    counterparties: Any | None
    removed_at: dt.datetime | None
    updated_at: dt.datetime
