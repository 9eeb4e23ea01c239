"""What one process may spend without asking: a small share in times of plenty, a crawl while Redis is away."""

from core.plaid.shared_budget import Answer, Limits

# A share that is older is not used: Redis counts a grant as up to this much later than it was written down.
SHARE_OF_WINDOW = 1 / 120
ALONE_SHARE = 1 / 20


class LocalShare:
    """Tokens that Redis has already counted; they live half a second, and what is left over goes back."""

    def __init__(self, limits: Limits) -> None:
        self._life = limits.window_seconds * SHARE_OF_WINDOW
        self._client = 0
        self._client_until = 0.0
        self._items: dict[str, tuple[int, float]] = {}
        self.slot = 0

    def take(self, item_key: str, now: float) -> bool:
        """Spend one token of the client and one of the Item, if both are here."""
        if self._client < 1 or now >= self._client_until:
            return False
        tokens, until = self._items.get(item_key, (0, 0.0))
        if tokens < 1 or now >= until:
            return False
        self._client -= 1
        self._items[item_key] = (tokens - 1, until)
        return True

    def hand_back(self) -> int:
        """Return the client's tokens that were not spent, and forget them."""
        unused, self._client = self._client, 0
        return unused

    def receive(self, answer: Answer, asked_at: float) -> None:
        """Keep what an answer brought; it lives from when it was asked for, which is before Redis counted it."""
        self.slot = answer.slot
        self._client = answer.tokens
        self._client_until = asked_at + self._life

    def receive_item(self, item_key: str, tokens: int, asked_at: float) -> None:
        """Keep an Item's tokens for its next pages."""
        # All live equally long, so the first that were put in are the first to die.
        while self._items and next(iter(self._items.values()))[1] <= asked_at:
            del self._items[next(iter(self._items))]
        self._items.pop(item_key, None)
        if tokens > 0:
            self._items[item_key] = (tokens, asked_at + self._life)

    def drop(self) -> None:
        """Forget everything: Plaid has just refused, or Redis has forgotten."""
        self._client = 0
        self._items.clear()


class AloneBudget:
    """A process that cannot ask takes a twentieth of the client's rate, evenly, and half of an Item's."""

    def __init__(self, limits: Limits) -> None:
        self._client_spacing = limits.window_seconds / (limits.per_client * ALONE_SHARE)
        self._item_spacing = limits.window_seconds / (limits.per_item / 2)
        self._client_next = 0.0
        self._item_next: dict[str, float] = {}

    def wait(self, item_key: str, now: float) -> float:
        """Spend a call and return 0, or return the seconds until one may be spent."""
        free_at = max(self._client_next, self._item_next.get(item_key, 0.0))
        if free_at > now:
            return free_at - now
        self._client_next = now + self._client_spacing
        self._item_next = {key: at for key, at in self._item_next.items() if at > now}
        self._item_next[item_key] = now + self._item_spacing
        return 0.0
