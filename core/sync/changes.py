"""What a run applies: the pages since the Item's cursor, or, once that cursor is refused, everything that there is."""

from datetime import timedelta

import structlog

from core.errors import OperatorMustActError, RestartFromEmptyCursorError
from core.plaid.budgeted import BudgetedPages
from core.plaid.limits import Priority
from core.resources import Resources
from core.sync.pages import Pages, fetch_everything, fetch_pages
from core.sync.runs import OpenRun

log = structlog.get_logger()

# A second refusal so soon after a full pull is no accident, and pulling everything again would not end it.
ONCE_IN = timedelta(hours=24)


def page_source(resources: Resources, run: OpenRun) -> BudgetedPages:
    """Return where a run's pages come from, paid for at the priority of its trigger."""
    return BudgetedPages(resources.plaid, resources.budget, str(run.item.id), Priority.of(run.trigger))


async def fetch_changes(resources: Resources, run: OpenRun, token: str) -> Pages:
    """Return every page since the cursor that the run read; close them when they are applied.

    A cursor that Plaid refuses (of another Item, or mutating for ever) leads to one pull from the empty cursor, said
    loudly and kept in the run; rows that it does not name are tombstoned with it.

    Raises:
        OperatorMustActError: `CURSOR_REFUSED_AGAIN`, within a day of the last full pull.
        SyncError: Plaid's.
    """
    source = page_source(resources, run)
    try:
        return await fetch_pages(source, token, run.item.cursor)
    except RestartFromEmptyCursorError as error:
        last = run.item.full_pull_at
        facts = {"item_id": str(run.item.id), "run_id": str(run.id), "error_code": error.error_code}
        if last is not None and run.started_at - last < ONCE_IN:
            log.warning("cursor_refused_again", **facts)
            raise OperatorMustActError("CURSOR_REFUSED_AGAIN", request_id=error.request_id) from None
        log.warning("cursor_refused_pulling_everything", **facts)
    return await fetch_everything(source, token, run.item.update_status)
