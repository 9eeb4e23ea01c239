"""What the pipelines of dlt and Singer share: pages over kept-alive connections, and the loop that asks for rounds."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import urllib3

from benchmarks.work import access_token

THREADS = 32
HEADERS = {"Content-Type": "application/json"}
pool = urllib3.PoolManager(maxsize=THREADS, block=True)


def pages(item: int, cursor: str | None) -> Iterator[dict[str, Any]]:
    """Yield the decoded pages of an Item after a cursor; msgspec is faster than either peer's own reader."""
    while True:
        question = {"access_token": access_token(item), "cursor": cursor or "", "count": 500}
        url = f"{os.environ['PLAID_URL']}/transactions/sync"
        answer = pool.request("POST", url, body=msgspec.json.encode(question), headers=HEADERS)
        page = msgspec.json.decode(answer.data)
        yield page
        if not page["has_more"]:
            return
        cursor = page["next_cursor"]


def fetch(items: Iterable[int], cursors: Mapping[str, str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the pages of many Items, fetched side by side, in the order of the Items."""
    with ThreadPoolExecutor(THREADS) as threads:
        asked = threads.map(lambda item: (item, list(pages(item, cursors.get(str(item))))), items)
        for item, of_item in asked:
            yield from ((item, page) for page in of_item)


def serve_rounds(do_round: Callable[[], int]) -> None:
    """Say "ready", then do a round for each line of standard input and tell how many Items are at their last cursor."""
    print("ready", flush=True)
    for _ in sys.stdin:
        print(f"done {do_round()}", flush=True)
