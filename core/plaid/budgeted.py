"""Pages of one Item, each paid for from the shared budget before it is asked for, and before it is asked for again."""

from dataclasses import dataclass

from core.errors import RetryLaterError
from core.plaid.client import PlaidClient
from core.plaid.limits import Budget, Priority
from core.telemetry import tracing
from core.telemetry.spans import Kind

RATE_LIMIT = "RATE_LIMIT_EXCEEDED"


@dataclass(frozen=True, slots=True)
class BudgetedPages:
    """/transactions/sync for one Item, at the priority of whoever asked for it."""

    plaid: PlaidClient
    budget: Budget
    item_key: str
    priority: Priority

    async def transactions_sync(self, access_token: str, cursor: str | None) -> bytes:
        """Return the raw page after `cursor`, once there is budget for it.

        Raises:
            RetryLaterError: `OUTBOUND_BUDGET`, when the wait would be too long.
            SyncError: Plaid's; after a 429 the fleet slows down.
        """
        await self._pay()
        try:
            with tracing.span("fetch page", Kind.CLIENT, is_first=cursor is None):
                return await self.plaid.transactions_sync(access_token, cursor, self._pay)
        except RetryLaterError as error:
            if error.error_type == RATE_LIMIT:
                await self.budget.refused(self.item_key, retry_after=error.retry_after)
            raise

    async def _pay(self) -> None:
        await self.budget.spend(self.item_key, self.priority)
