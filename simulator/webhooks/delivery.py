import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx

from simulator.bank.item import Item
from simulator.bank.world import World
from simulator.webhooks.signing import Keyring

# Source: Plaid, webhooks: the first retry after 30 s, each delay four times the last, within 24 hours.
DELAYS_SECONDS = (30, 120, 480, 1920, 7680, 30720)
ANSWER_SECONDS = 10
AT_ONCE = 100
OK = 200
SENDING, HELD, RETRYING, DELIVERED, FAILED, LOST = "sending", "held", "retrying", "delivered", "failed", "lost"
HEADER = "Plaid-Verification"


@dataclass(slots=True, eq=False)
class Delivery:
    """A webhook on its way, or what became of it. `status` is the last answer's, None when there was none."""

    item_id: str
    code: str
    url: str
    is_copy: bool = False
    forgery: str | None = None
    state: str = SENDING
    attempts: int = 0
    status: int | None = None
    first_sent_at: str | None = None
    delivered_at: str | None = None


class Courier:
    """Sends webhooks, again on the documented schedule until one is answered by 200.

    Each attempt is signed anew: Plaid does not say so, but a receiver could not accept a later one otherwise.
    """

    def __init__(self, world: World, keyring: Keyring) -> None:
        self.keyring = keyring
        self.retry_scale = 1.0
        self.answer_seconds: float = ANSWER_SECONDS
        self.deliveries: list[Delivery] = []
        self._world = world
        self._client: httpx.AsyncClient | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._sending = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._retry = asyncio.Event()

    def open(self, item: Item, code: str, *, is_copy: bool = False, forgery: str | None = None) -> Delivery:
        """Enter a webhook in the books, as being sent."""
        delivery = Delivery(item.item_id, code, item.webhook or "", is_copy, forgery)
        self.deliveries.append(delivery)
        self._sending += 1
        self._quiet.clear()
        return delivery

    def become(self, delivery: Delivery, state: str) -> None:
        """Write down how far a webhook is."""
        self._sending += (state == SENDING) - (delivery.state == SENDING)
        delivery.state = state
        if self._sending:
            self._quiet.clear()
        else:
            self._quiet.set()

    def run(self, sending: Coroutine[Any, Any, None]) -> None:
        """Send in the background."""
        task = asyncio.create_task(sending)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def idle(self) -> None:
        """Return when nothing is being sent; what is held, or waits to be sent again, does not count."""
        await self._quiet.wait()

    def retry_now(self) -> int:
        """Send at once whatever waits to be sent again, and return how many."""
        waiting = [delivery for delivery in self.deliveries if delivery.state == RETRYING]
        for delivery in waiting:
            self.become(delivery, SENDING)
        self._retry.set()
        self._retry = asyncio.Event()
        return len(waiting)

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()
        if self._client is not None:
            await self._client.aclose()

    async def deliver(self, delivery: Delivery, body: bytes, token: str | None = None) -> None:
        """Send until it is answered by 200 or the schedule ends; `token` is the first attempt's."""
        for delay in (*DELAYS_SECONDS, None):
            token = token or self.keyring.current().sign(body)
            if await self.attempt(delivery, body, {HEADER: token}):
                self.become(delivery, DELIVERED)
                return
            if delay is not None:
                await self._pause(delivery, delay)
            token = None
        self.become(delivery, FAILED)

    async def deliver_once(self, delivery: Delivery, body: bytes, headers: dict[str, str]) -> None:
        """Send it as it is, and never again."""
        self.become(delivery, DELIVERED if await self.attempt(delivery, body, headers) else FAILED)

    async def attempt(self, delivery: Delivery, body: bytes, headers: dict[str, str]) -> bool:
        """Send it once, and tell whether it was answered by 200."""
        async with self._at_once:
            delivery.attempts += 1
            delivery.first_sent_at = delivery.first_sent_at or self._now()
            delivery.status = await self._post(delivery.url, body, headers)
        if delivery.status == OK:
            delivery.delivered_at = self._now()
        return delivery.status == OK

    async def _pause(self, delivery: Delivery, delay: float) -> None:
        self.become(delivery, RETRYING)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._retry.wait(), delay * self.retry_scale)
        self.become(delivery, SENDING)

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> int | None:
        if self._client is None:
            self._client = httpx.AsyncClient()
        headers = {"Content-Type": "application/json", **headers}
        try:
            answer = await self._client.post(url, content=body, headers=headers, timeout=self.answer_seconds)
        except (httpx.HTTPError, httpx.InvalidURL, AttributeError):
            # The last is anyio's, when the connection is closed in the moment that it was made.
            return None
        return answer.status_code

    def _now(self) -> str:
        return self._world.clock.now().isoformat()
