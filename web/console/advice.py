"""What a failure means and what a person can do, for a run and for an Item as it stands."""

from typing import Any

from core.models import RunStatus
from core.sync.explanation import Explanation, explain

Row = dict[str, Any]


def about_run(run: Row, item: Row) -> Explanation | None:
    """Explain a run by what has become of its Item since; None for one that did not fail."""
    return explain({**_health(item), **run, "last_synced_at": item["last_synced_at"]})


def about_item(item: Row) -> Explanation | None:
    """Explain what an Item fails with now; None while nothing is wrong."""
    if item["error_code"] is None:
        return None
    failing = {"status": RunStatus.FAILED, "started_at": None, "last_synced_at": None}
    return explain({**_health(item), **failing})


def _health(item: Row) -> Row:
    kept = {name: item[name] for name in ("error_type", "error_code", "next_sync_at", "parked_at")}
    return {**kept, "item_id": item["id"], "item_status": item["status"]}
