"""Receive: read, keep together with whatever else waits, and only then answer and send for the sync.

Deliveries that arrive while a transaction is under way share the next one. So a burst costs a commit per batch and
not per webhook, and the answer still comes after the commit that holds the delivery.
"""

import asyncio
from collections.abc import Sequence
from contextvars import Context
from typing import TYPE_CHECKING

from core.batching import Batched
from core.broker.messages import RevokeItems
from core.models import SyncTrigger
from core.plaid.webhook_verification import VerifiedWebhook
from core.resources import Resources
from core.webhooks.deliveries import Delivery, Kept, keep_deliveries, read_delivery

if TYPE_CHECKING:
    from uuid import UUID

BATCH = 200


class Inbox:
    """Plaid's deliveries into one process."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._keep = Batched(self._keep_many, largest=BATCH)
        self._to_sync: dict[UUID, list[str]] = {}
        self._to_revoke = False
        self._publishing: asyncio.Task[None] | None = None

    async def receive(self, body: bytes, proof: VerifiedWebhook) -> bool:
        """Make a verified webhook durable with its effect, and tell whether it was new.

        When this returns, the work is in the database: the message that is sent next may get lost, the dispatcher
        finds the Item again. Source: Plaid, webhooks; no delivery id exists, so `proof.delivery_key` is ours.

        Raises:
            WebhookRejectedError: Plaid signed it, and yet it is no webhook.
            SQLAlchemyError, OSError: it could not be made durable; nothing of it was kept.
        """
        delivery = read_delivery(body, proof)
        is_new = await self._keep(delivery)
        if is_new is None:
            # Its Item is locked by a commit: this one waits for that, by itself.
            kept = await self._commit([delivery], wait=True)
            is_new = delivery in kept.new
        return is_new

    async def idle(self) -> None:
        """Return once everything kept is sent for."""
        while self._publishing is not None:
            await asyncio.wait([self._publishing])

    async def _keep_many(self, deliveries: Sequence[Delivery]) -> list[bool | None]:
        kept = await self._commit(deliveries, wait=False)
        return [None if one in kept.passed_over else one in kept.new for one in deliveries]

    async def _commit(self, deliveries: Sequence[Delivery], *, wait: bool) -> Kept:
        async with self._resources.database.connection() as connection:
            kept = await keep_deliveries(connection, deliveries, wait=wait)
        for item_id, traces in kept.to_sync.items():
            self._to_sync.setdefault(item_id, []).extend(traces)
        self._to_revoke |= kept.ends_access
        if self._publishing is None and (self._to_sync or self._to_revoke):
            self._publishing = asyncio.create_task(self._publish(), context=Context())
        return kept

    async def _publish(self) -> None:
        try:
            while self._to_sync or self._to_revoke:
                if self._to_revoke:
                    self._to_revoke = False
                    await self._resources.publisher.publish(RevokeItems())
                    continue
                traces, self._to_sync = self._to_sync, {}
                await self._resources.publisher.publish_each_once(list(traces), SyncTrigger.WEBHOOK, traces)
        finally:
            self._publishing = None
