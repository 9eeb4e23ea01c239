"""Receive: read, keep together with whatever else waits, and only then answer and send for the sync.

Deliveries that arrive while a transaction is under way share the next one. So a burst costs a commit per batch and
not per webhook, and the answer still comes after the commit that holds the delivery.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.broker.messages import RevokeItems
from core.models import SyncTrigger
from core.plaid.webhook_verification import VerifiedWebhook
from core.resources import Resources
from core.webhooks.deliveries import Delivery, Kept, keep_deliveries, read_delivery

if TYPE_CHECKING:
    from uuid import UUID

log = structlog.get_logger()

BATCH = 200
Waiting = tuple[Delivery, "asyncio.Future[bool]"]


class Inbox:
    """Plaid's deliveries into one process."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._waiting: list[Waiting] = []
        self._to_sync: dict[UUID, None] = {}
        self._draining: asyncio.Task[None] | None = None
        self._publishing: asyncio.Task[None] | None = None
        self._late: set[asyncio.Task[None]] = set()

    async def receive(self, body: bytes, proof: VerifiedWebhook) -> bool:
        """Make a verified webhook durable with its effect, and tell whether it was new.

        When this returns, the work is in the database: the message that is sent next may get lost, the dispatcher
        finds the Item again. Source: Plaid, webhooks; no delivery id exists, so `proof.delivery_key` is ours.

        Raises:
            WebhookRejectedError: Plaid signed it, and yet it is no webhook.
            SQLAlchemyError, OSError: it could not be made durable; nothing of it was kept.
        """
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((read_delivery(body, proof), future))
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain())
        return await future

    async def idle(self) -> None:
        """Return once everything received is kept, and sent for."""
        while tasks := [task for task in (self._draining, self._publishing, *self._late) if task is not None]:
            await asyncio.wait(tasks)

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                await self._keep(batch)
        finally:
            self._draining = None

    async def _keep(self, batch: Sequence[Waiting], *, wait: bool = False) -> None:
        deliveries = [delivery for delivery, _ in batch]
        try:
            async with self._resources.database.transaction() as session:
                kept = await keep_deliveries(session, deliveries, wait=wait)
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            await self._failed(batch, error)
            return
        self._answer(batch, kept)
        await self._send_for(kept)

    async def _failed(self, batch: Sequence[Waiting], error: Exception) -> None:
        if len(batch) > 1:
            # One of them may be the cause: the others must not share its fate.
            for one in batch:
                await self._keep([one])
            return
        for _, future in batch:
            if not future.done():
                future.set_exception(error)

    def _answer(self, batch: Sequence[Waiting], kept: Kept) -> None:
        for delivery, future in batch:
            if delivery in kept.passed_over:
                self._in_background(self._keep([(delivery, future)], wait=True))
            elif not future.done():
                future.set_result(delivery in kept.new)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _send_for(self, kept: Kept) -> None:
        self._to_sync.update(dict.fromkeys(kept.to_sync))
        if self._to_sync and self._publishing is None:
            self._publishing = asyncio.create_task(self._publish())
        if kept.ends_access:
            await self._resources.publisher.publish(RevokeItems())

    async def _publish(self) -> None:
        try:
            while self._to_sync:
                item_id = next(iter(self._to_sync))
                del self._to_sync[item_id]
                await self._resources.publisher.publish_once(item_id, SyncTrigger.WEBHOOK)
        finally:
            self._publishing = None
