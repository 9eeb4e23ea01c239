import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from simulator.json_codec import indented
from simulator.state import Item, World

# Source: Plaid, webhooks: the first retry after 30 s, each delay four times the last, within 24 hours.
DELAYS_SECONDS = (30, 120, 480, 1920, 7680, 30720)
ANSWER_SECONDS = 10
OK = 200


@dataclass(slots=True)
class Delivery:
    """A webhook on its way, or what became of it."""

    item_id: str
    code: str
    attempts: int = 0
    status: int | None = None
    first_sent_at: str | None = None
    delivered_at: str | None = None


@dataclass(slots=True)
class Webhooks:
    """Sends signed webhooks in the background, again on the documented schedule until one is answered by 200."""

    world: World
    retry_scale: float = 1.0
    deliveries: list[Delivery] = field(default_factory=list)
    _client: httpx.AsyncClient | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def sync_updates_available(self, item: Item) -> bool:
        """Announce changes, if the Item has an address and was synced before; tell whether it was announced."""
        if item.webhook is None or not item.armed:
            return False
        fields = {"initial_update_complete": True, "historical_update_complete": True}
        self.send(item, "TRANSACTIONS", "SYNC_UPDATES_AVAILABLE", fields)
        return True

    def send(self, item: Item, kind: str, code: str, fields: dict[str, Any]) -> None:
        """Send any webhook of an Item."""
        document = {"environment": "sandbox", "item_id": item.item_id, "webhook_code": code, "webhook_type": kind}
        delivery = Delivery(item.item_id, code)
        self.deliveries.append(delivery)
        task = asyncio.create_task(self._deliver(item.webhook or "", indented(document | fields), delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def idle(self) -> None:
        """Return when no delivery is under way."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()
        if self._client is not None:
            await self._client.aclose()

    async def _deliver(self, url: str, body: bytes, delivery: Delivery) -> None:
        for delay in (*DELAYS_SECONDS, 0):
            delivery.attempts += 1
            delivery.first_sent_at = delivery.first_sent_at or datetime.now(UTC).isoformat()
            delivery.status = await self._post(url, body)
            if delivery.status == OK:
                delivery.delivered_at = datetime.now(UTC).isoformat()
                return
            await asyncio.sleep(delay * self.retry_scale)

    async def _post(self, url: str, body: bytes) -> int | None:
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=ANSWER_SECONDS)
        headers = {"Content-Type": "application/json", "Plaid-Verification": self.world.keys[-1].sign(body)}
        try:
            return (await self._client.post(url, content=body, headers=headers)).status_code
        except httpx.HTTPError:
            return None
