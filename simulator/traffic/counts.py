from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

JOURNAL_LENGTH = 20_000
CUT = "cut"
RATE_LIMITED = 429


@dataclass(slots=True)
class Request:
    """A line of the journal; `status` is None while it is under way, "cut" when it was cut off."""

    path: str
    item_id: str | None
    cursor: Any
    status: int | str | None = None


@dataclass(slots=True)
class Counts:
    """How many requests came, by path and by Item, and what they were answered with."""

    journal: deque[Request] = field(default_factory=lambda: deque(maxlen=JOURNAL_LENGTH))
    _paths: Counter[str] = field(default_factory=Counter)
    _answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    _items: dict[str, Counter[str]] = field(default_factory=dict)
    _limited: Counter[str] = field(default_factory=Counter)

    def came(self, path: str, item_id: str | None, cursor: Any) -> Request:
        """Count a request that has come."""
        self._paths[path] += 1
        if item_id is not None:
            self._items.setdefault(item_id, Counter())[path] += 1
        request = Request(path, item_id, cursor)
        self.journal.append(request)
        return request

    def went(self, request: Request, status: int | None) -> None:
        """Count its answer, None for one that was cut off."""
        request.status = CUT if status is None else status
        self._answers[request.path, str(request.status)] += 1
        if status == RATE_LIMITED and request.item_id is not None:
            self._limited[request.item_id] += 1

    def paths(self) -> dict[str, Any]:
        """Return the counts of each path: requests, and answers by status."""
        found: dict[str, Any] = {path: {"requests": number, "answers": {}} for path, number in self._paths.items()}
        for (path, status), number in self._answers.items():
            found[path]["answers"][status] = number
        return found

    def items(self, item_id: str | None = None) -> dict[str, Any]:
        """Return the counts of each Item, or of one: requests by path, and how many of all were answered by 429."""
        chosen = self._items if item_id is None else {item_id: self._items.get(item_id, Counter())}
        return {one: {"requests": dict(paths), "limited": self._limited[one]} for one, paths in chosen.items()}
