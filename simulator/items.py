from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any, Literal

from simulator.generation import TransactionSource
from simulator.json_codec import decode, encode
from simulator.ledger import Entry, Ledger
from simulator.merchants import Institution

Status = Literal["NOT_READY", "INITIAL_UPDATE_COMPLETE", "HISTORICAL_UPDATE_COMPLETE"]
_INITIAL_DAYS = 30


@dataclass(slots=True)
class Item:
    """One login at one institution, with its accounts and its ledger."""

    item_id: str
    access_token: str
    institution: Institution
    accounts: list[dict[str, Any]]
    source: TransactionSource
    random: Random
    webhook: str | None = None
    products: tuple[str, ...] = ("transactions",)
    dynamic: bool = True
    ledger: Ledger = field(default_factory=Ledger)
    backlog: list[Entry] = field(default_factory=list)
    status: Status = "NOT_READY"
    armed: bool = False
    removed: bool = False
    login_required: bool = False
    oldest_epoch: int = 0
    created_at: str = field(default_factory=lambda: now_text())
    last_update: str | None = None
    last_webhook: dict[str, str] | None = None
    _account_bodies: dict[str, bytes] = field(default_factory=dict)

    def become(self, status: Status) -> None:
        """Reach `status`: the part of the history that belongs to it is in the ledger from here on."""
        self.status = status
        if status == "NOT_READY":
            return
        since = (datetime.now(UTC).date() - timedelta(days=_INITIAL_DAYS)).isoformat()
        waiting, self.backlog = self.backlog, []
        for entry in waiting:
            if status == "HISTORICAL_UPDATE_COMPLETE" or _date_of(entry) >= since:
                self.ledger.append(entry)
            else:
                self.backlog.append(entry)
        self.touch()

    def touch(self) -> None:
        """Remember that the institution was asked just now."""
        self.last_update = now_text()

    def account(self, account_id: str) -> dict[str, Any] | None:
        """The account of that id, if the Item has it."""
        return next((account for account in self.accounts if account["account_id"] == account_id), None)

    def account_body(self, account: dict[str, Any]) -> bytes:
        """The account as JSON, encoded once."""
        account_id = account["account_id"]
        if account_id not in self._account_bodies:
            self._account_bodies[account_id] = encode(account)
        return self._account_bodies[account_id]

    def replace_accounts(self, accounts: list[dict[str, Any]]) -> None:
        """Put other accounts in the place of the Item's own."""
        self.accounts = accounts
        self._account_bodies.clear()


def _date_of(entry: Entry) -> str:
    document: dict[str, Any] = decode(entry.body or b"{}")
    return str(document["date"])


def now_text() -> str:
    """The present moment as Plaid writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def day_before(days: int) -> date:
    """The day that lies `days` before this one."""
    return datetime.now(UTC).date() - timedelta(days=days)
