from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from simulator.bank.ledger import AS_IT_CAME, Entry, Ledger
from simulator.bank.merchants import Institution
from simulator.errors import PlaidError

UNKNOWN = "TRANSACTIONS_UPDATE_STATUS_UNKNOWN"
NOT_READY = "NOT_READY"
INITIAL = "INITIAL_UPDATE_COMPLETE"
HISTORICAL = "HISTORICAL_UPDATE_COMPLETE"

# Source: Plaid's Sandbox: the test user whose transactions change with each /transactions/refresh.
DYNAMIC_USER = "user_transactions_dynamic"
GOOD_USER = "user_good"


@dataclass(slots=True, eq=False)
class Item:
    """A log-in at a bank with its accounts and its ledger.

    `status` is how much of its history Plaid has fetched; the rest is in `backlog`, by age in days. `armed` once
    /transactions/sync was called. `error` stands until the user has repaired the log-in. `cursor_refusal` is what
    every cursor given out so far is refused with, until the Item is asked with none.
    """

    item_id: str
    access_token: str = field(repr=False)
    institution: Institution
    accounts: list[dict[str, Any]]
    webhook: str | None
    username: str
    created_at: datetime
    products: list[str] = field(default_factory=lambda: ["transactions"])
    status: str = HISTORICAL
    ledger: Ledger = field(default_factory=Ledger)
    backlog: list[tuple[int, Entry]] = field(default_factory=list)
    days_requested: int = 730
    armed: bool = False
    removed: bool = False
    error: PlaidError | None = None
    epoch: int = 0
    cursor_refusal: PlaidError | None = None
    order: int = AS_IT_CAME
    last_update: datetime | None = None
    last_webhook: tuple[datetime, str] | None = None

    @property
    def institution_id(self) -> str:
        """The bank's id."""
        return self.institution.institution_id

    def is_ready(self) -> bool:
        """Tell whether there is any history to page through."""
        return self.status in (INITIAL, HISTORICAL)

    def require_login(self) -> None:
        """Raise the Item's error while one stands."""
        if self.error is not None:
            # The same object is raised each time: without this its traceback would grow each time.
            raise self.error.with_traceback(None)

    def account(self, account_id: str) -> dict[str, Any] | None:
        """Return an account of the Item, if it is one."""
        return next((one for one in self.accounts if one["account_id"] == account_id), None)
