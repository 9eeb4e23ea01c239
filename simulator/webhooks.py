import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import httpx

from simulator.items import Item, now_text
from simulator.json_codec import indented
from simulator.signing import KeyRing

# 30 s, then four times as long each time; the seventh would pass 24 hours.
RETRY_DELAYS = (30, 120, 480, 1920, 7680, 30720)
_TIMEOUT_SECONDS = 10.0
_REMEMBERED = 100_000


@dataclass(slots=True)
class Delivery:
    """One webhook on its way, or where its way ended."""

    item_id: str
    url: str
    document: dict[str, Any]
    attempts: int = 0
    last_status: int | None = None
    last_error: str | None = None
    first_sent_at: float | None = None
    delivered_at: float | None = None
    state: str = "pending"

    def summary(self) -> dict[str, Any]:
        """The delivery as the control API reports it."""
        return {
            "item_id": self.item_id,
            "webhook_type": self.document["webhook_type"],
            "code": self.document["webhook_code"],
            "url": self.url,
            "state": self.state,
            "attempts": self.attempts,
            "last_status": self.last_status,
            "last_error": self.last_error,
            "first_sent_at": self.first_sent_at,
            "delivered_at": self.delivered_at,
        }


@dataclass
class Courier:
    """Delivers signed webhooks in the background, with Plaid's time-out and retries."""

    keys: KeyRing
    retry_scale: float = 1.0
    deliveries: deque[Delivery] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    _client: httpx.AsyncClient | None = None

    @property
    def pending(self) -> int:
        """How many deliveries are under way or wait for a retry."""
        return len(self._tasks)

    async def wait_idle(self) -> None:
        """Return as soon as no delivery is pending."""
        while self._tasks:
            self._idle.clear()
            await self._idle.wait()

    def send(self, item: Item, webhook_type: str, code: str, fields: dict[str, Any] | None = None) -> bool:
        """Start a delivery to the Item's webhook; False when it has none."""
        if item.webhook is None:
            return False
        head = {"webhook_type": webhook_type, "webhook_code": code, "item_id": item.item_id}
        document = head | (fields or {}) | {"environment": "sandbox"}
        delivery = Delivery(item.item_id, item.webhook, document)
        self.deliveries.append(delivery)
        item.last_webhook = {"sent_at": now_text(), "code_sent": code}
        task = asyncio.create_task(self._deliver(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return True

    def announce(self, item: Item) -> bool:
        """SYNC_UPDATES_AVAILABLE, if the Item was synced at least once."""
        return item.armed and self.send(item, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE", update_fields(item))

    async def close(self) -> None:
        """Drop what is pending."""
        for task in self._tasks:
            task.cancel()
        if self._client is not None:
            await self._client.aclose()

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self._idle.set()

    async def _deliver(self, delivery: Delivery) -> None:
        body = indented(delivery.document)
        await self._attempt(delivery, body)
        for delay in RETRY_DELAYS:
            if delivery.state == "delivered":
                return
            await asyncio.sleep(delay * self.retry_scale)
            await self._attempt(delivery, body)
        if delivery.state != "delivered":
            delivery.state = "failed"

    async def _attempt(self, delivery: Delivery, body: bytes) -> None:
        delivery.attempts += 1
        delivery.first_sent_at = delivery.first_sent_at or time.time()
        # Signed anew each time: a retry's `iat` would otherwise be too old to be accepted.
        headers = {"Content-Type": "application/json", "Plaid-Verification": self.keys.sign(body)}
        try:
            answer = await self._http().post(delivery.url, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            delivery.last_status, delivery.last_error = None, type(error).__name__
            return
        delivery.last_status, delivery.last_error = answer.status_code, None
        if answer.status_code == httpx.codes.OK:
            delivery.delivered_at, delivery.state = time.time(), "delivered"

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            # Waiting for a free connection is our own doing, not the receiver's slowness: no limit on that.
            timeout = httpx.Timeout(_TIMEOUT_SECONDS, pool=None)
            limits = httpx.Limits(max_connections=64)
            self._client = httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=False)
        return self._client


def update_fields(item: Item) -> dict[str, Any]:
    """What SYNC_UPDATES_AVAILABLE says of the Item's progress."""
    return {
        "initial_update_complete": item.status != "NOT_READY",
        "historical_update_complete": item.status == "HISTORICAL_UPDATE_COMPLETE",
    }
