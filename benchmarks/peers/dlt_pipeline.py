"""dlt: one resource of all Items, merged by primary key, deletes by a hard-delete hint, cursors in dlt's state.

As its documentation advises for speed: pages yielded whole, fetched in parallel threads, nested objects kept as
JSON instead of child tables.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import dlt

from benchmarks.peers.plaid_http import fetch, serve_rounds

ITEMS = int(os.environ["BENCH_ITEMS"])
# All Items in one load is fastest, and one bad Item or a crash then costs all of them the load.
ITEMS_A_LOAD = int(sys.argv[1]) if len(sys.argv) > 1 else ITEMS
JSON = ("counterparties", "location", "payment_meta", "personal_finance_category", "category")
DATES = ("date", "authorized_date")
INSTANTS = ("datetime", "authorized_datetime")
NEVER_FILLED = (
    "account_owner",
    "category_id",
    "check_number",
    "pending_transaction_id",
    "transaction_code",
    "unofficial_currency_code",
)
HINTS: dict[str, Any] = {
    **{name: {"data_type": "json"} for name in JSON},
    **{name: {"data_type": "date"} for name in DATES},
    **{name: {"data_type": "timestamp"} for name in INSTANTS},
    "amount": {"data_type": "decimal"},
    **{name: {"data_type": "text"} for name in NEVER_FILLED},
    "is_removed": {"data_type": "bool", "hard_delete": True},
}


def _rows(page: dict[str, Any]) -> list[dict[str, Any]]:
    gone = ({"transaction_id": row["transaction_id"], "is_removed": True} for row in page["removed"])
    return [*page["added"], *page["modified"], *gone]


@dlt.resource(
    name="transactions", primary_key="transaction_id", write_disposition="merge", columns=HINTS, max_table_nesting=0
)
def transactions(items: range) -> Iterator[list[dict[str, Any]]]:
    """Yield the changes of Items since their cursors, a page at a time."""
    cursors = dlt.current.resource_state().setdefault("cursors", {})
    for item, page in fetch(items, cursors):
        cursors[str(item)] = page["next_cursor"]
        if rows := _rows(page):
            yield rows


def main() -> None:
    """Run the pipeline once a round."""
    directory = tempfile.mkdtemp(prefix="bench-dlt-")
    destination = dlt.destinations.postgres(os.environ["DATABASE_URL"])
    pipeline = dlt.pipeline("bench", pipelines_dir=directory, destination=destination, dataset_name="dlt")
    rounds = iter((1, 2))

    def do_round() -> int:
        for start in range(0, ITEMS, ITEMS_A_LOAD):
            part = range(start, min(start + ITEMS_A_LOAD, ITEMS))
            pipeline.run(transactions(part), loader_file_format="csv").raise_on_failed_jobs()
        ends = f"end-of-round-{next(rounds)}"
        found = pipeline.state["sources"]["bench"]["resources"]["transactions"]["cursors"]
        return sum(cursor.endswith(ends) for cursor in found.values())

    serve_rounds(do_round)


if __name__ == "__main__":
    sys.exit(main())
