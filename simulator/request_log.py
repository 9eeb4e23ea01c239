from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class RequestLog:
    """Counts what clients asked of the Plaid endpoints."""

    def __init__(self) -> None:
        self._by_endpoint: Counter[str] = Counter()
        self._by_item: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._running: Counter[str] = Counter()
        self._most_running: Counter[str] = Counter()

    @contextmanager
    def request(self, endpoint: str, item_id: str | None) -> Iterator[None]:
        """Count a request for as long as it runs."""
        self._by_endpoint[endpoint] += 1
        if item_id is None:
            yield
            return
        self._by_item[item_id][endpoint] += 1
        self._running[item_id] += 1
        self._most_running[item_id] = max(self._most_running[item_id], self._running[item_id])
        try:
            yield
        finally:
            self._running[item_id] -= 1
            if not self._running[item_id]:
                del self._running[item_id]

    def clear(self) -> None:
        """Start to count anew; what runs now is still known to run."""
        self._by_endpoint.clear()
        self._by_item.clear()
        self._most_running = Counter(self._running)

    def report(self) -> dict[str, Any]:
        """All counts."""
        return {
            "count": self._by_endpoint.total(),
            "by_endpoint": dict(self._by_endpoint),
            "by_item": {item_id: dict(counts) for item_id, counts in self._by_item.items()},
            "max_concurrent_by_item": dict(self._most_running),
        }
