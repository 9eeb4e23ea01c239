"""New Items, as they come out of Link."""

from dataclasses import dataclass

from simulator.bank.item import UNKNOWN, Item
from simulator.bank.merchants import Institution
from simulator.simulator import Simulator

# Source: Plaid's Sandbox: what the dynamic test user starts with.
FIRST_TRANSACTIONS = 50
TRANSACTIONS = "transactions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """Who logged in where, and to what."""

    institution: Institution
    username: str
    products: list[str]
    webhook: str | None
    days_requested: int
    transactions: int = FIRST_TRANSACTIONS


def link(simulator: Simulator, consent: Consent) -> Item:
    """Link an Item; without the product its history is only fetched once /transactions/sync asks for it."""
    item = simulator.world.add_item(
        consent.transactions,
        institution=consent.institution,
        webhook=consent.webhook,
        username=consent.username,
    )
    item.products = list(consent.products)
    item.days_requested = consent.days_requested
    if TRANSACTIONS in consent.products:
        simulator.start_extraction(item)
    else:
        item.status = UNKNOWN
    return item
