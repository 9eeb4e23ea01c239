"""The endpoints of /sandbox."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from simulator.bank.generation import explicit_transaction
from simulator.bank.item import DYNAMIC_USER, GOOD_USER, Item
from simulator.bank.merchants import BY_ID
from simulator.endpoints.endpoint import ItemRequest, PlaidRequest, web_address
from simulator.endpoints.link import DEFAULT_DAYS, Named
from simulator.errors import PlaidError, invalid_field, invalid_input, login_required, sandbox_error
from simulator.linking import Consent, link
from simulator.simulator import Simulator
from simulator.webhooks.payloads import TRANSACTIONS, WEBHOOKS

MOST_AT_ONCE = 10
OLDEST = timedelta(days=14)


class SandboxTransactions(msgspec.Struct, frozen=True):
    """Which history the Item shall have; the dates are accepted and change nothing here."""

    start_date: str | None = None
    end_date: str | None = None
    days_requested: int = DEFAULT_DAYS


class SandboxOptions(msgspec.Struct, frozen=True):
    """Options of the new Item."""

    webhook: str | None = None
    override_username: str | None = None
    override_password: str | None = None
    transactions: SandboxTransactions = SandboxTransactions()


class PublicTokenRequest(PlaidRequest, frozen=True, kw_only=True):
    """Asks for an Item without Link."""

    institution_id: str
    initial_products: Named
    options: SandboxOptions = SandboxOptions()
    user_token: str | None = None
    user_id: str | None = None


class FireWebhookRequest(ItemRequest, frozen=True, kw_only=True):
    """Asks for a webhook."""

    webhook_code: str
    webhook_type: str | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)


class NewTransaction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A transaction to be."""

    date_transacted: date
    date_posted: date
    amount: Decimal
    description: Annotated[str, msgspec.Meta(min_length=1)]
    iso_currency_code: str = "USD"
    account_id: str | None = None


class NewTransactionsRequest(ItemRequest, frozen=True, kw_only=True):
    """Asks for transactions on an Item of the dynamic test user."""

    transactions: Annotated[list[NewTransaction], msgspec.Meta(min_length=1, max_length=MOST_AT_ONCE)]


async def public_token_create(simulator: Simulator, asked: PublicTokenRequest) -> dict[str, Any]:
    """Answer /sandbox/public_token/create."""
    institution = BY_ID.get(asked.institution_id)
    if institution is None:
        raise invalid_input("INVALID_INSTITUTION", "invalid institution_id provided")
    options = asked.options
    consent = Consent(
        institution=institution,
        username=options.override_username or GOOD_USER,
        products=asked.initial_products,
        webhook=web_address("options.webhook", options.webhook),
        days_requested=options.transactions.days_requested,
    )
    return {"public_token": simulator.world.public_token(link(simulator, consent))}


async def fire_webhook(simulator: Simulator, asked: FireWebhookRequest) -> dict[str, Any]:
    """Answer /sandbox/item/fire_webhook, for every code that the simulator knows."""
    item = simulator.world.by_token(asked.access_token)
    if asked.webhook_code not in WEBHOOKS:
        raise invalid_field(f"webhook_code must be one of {', '.join(WEBHOOKS)}")
    kind, _ = WEBHOOKS[asked.webhook_code]
    if asked.webhook_type not in (None, kind):
        raise invalid_field(f"webhook_type of {asked.webhook_code} must be {kind}")
    if kind == TRANSACTIONS and "transactions" not in item.products:
        raise sandbox_error("SANDBOX_PRODUCT_NOT_ENABLED", "transactions is not enabled on this Item")
    if not simulator.webhooks.send(item, asked.webhook_code):
        raise sandbox_error("SANDBOX_WEBHOOK_INVALID", "no webhook address is set on this Item")
    return {"webhook_fired": True}


async def reset_login(simulator: Simulator, asked: ItemRequest) -> dict[str, Any]:
    """Answer /sandbox/item/reset_login: the user has to log in again, and the webhook says so."""
    item = simulator.world.by_token(asked.access_token)
    item.error = login_required()
    simulator.webhooks.send(item, "ERROR")
    return {"reset_login": True}


async def transactions_create(simulator: Simulator, asked: NewTransactionsRequest) -> dict[str, Any]:
    """Answer /sandbox/transactions/create: all of them or, if one is against the rules, none."""
    world = simulator.world
    item = world.by_token(asked.access_token)
    if item.username != DYNAMIC_USER:
        raise invalid_field(f"this endpoint is only for Items of {DYNAMIC_USER}")
    for one in asked.transactions:
        if problem := _problem(item, one, world.clock.today()):
            raise problem
    for one in asked.transactions:
        account = item.accounts[0] if one.account_id is None else item.account(one.account_id)
        fields = {
            "date": one.date_posted.isoformat(),
            "authorized_date": one.date_transacted.isoformat(),
            "amount": one.amount,
            "name": one.description,
            "iso_currency_code": one.iso_currency_code,
        }
        item.ledger.append(explicit_transaction(account or item.accounts[0], world.identifiers.plaid_id(), fields))
    simulator.webhooks.sync_updates_available(item)
    return {}


def _problem(item: Item, one: NewTransaction, today: date) -> PlaidError | None:
    if one.account_id is not None and item.account(one.account_id) is None:
        return invalid_input("INVALID_ACCOUNT_ID", "failed to find requested account ID for requested item")
    if max(one.date_transacted, one.date_posted) > today:
        return invalid_field("transaction dates must not be in the future")
    if min(one.date_transacted, one.date_posted) < today - OLDEST:
        return invalid_field("transaction dates must be within the last 14 days")
    if one.date_posted < one.date_transacted:
        return invalid_field("date_posted must not be before date_transacted")
    return None
