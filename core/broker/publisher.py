"""Puts messages on the queues, after the commit that they follow from."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from uuid import UUID

import structlog
from amqp.exceptions import AMQPError  # type: ignore[import-untyped]  # amqp publishes no types
from celery import Celery
from kombu.exceptions import OperationalError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from core.broker.coalesced import leave_traces
from core.broker.messages import ConsumeAudit, Message, SyncItem, SyncItems
from core.broker.rabbitmq import is_rabbitmq
from core.broker.transport import celery_settings
from core.locking.redis_lock import item_lease, keys_of
from core.models import SyncTrigger
from core.settings import Settings
from core.telemetry import tracing
from core.telemetry.spans import TRACEPARENT, Kind

log = structlog.get_logger()

QUEUED_SECONDS = 60
AUDIT_WAKE_SECONDS = 5
AUDIT_WAKE_DELAY_SECONDS = 0.5
AUDIT_WAKE_KEY = "audit:awake"
SENT_AT = "manna_sent_at"
# A burst of more Items than the first travels by the second: messages cost the sender more than they spare the Items.
FEW = 4
BUNDLE = 10
# What is traced: wake-ups are for everybody and belong to nobody's trace.
SYNCS = (SyncItem, SyncItems)


class Publisher:
    """Sends messages from the event loop; a message that cannot be sent is logged and found again by the database.

    kombu blocks, so one thread of its own sends, with a connection that is kept.
    """

    def __init__(self, settings: Settings, redis: Redis) -> None:
        self._redis = redis
        self._app = Celery("manna-publisher", set_as_current=False)
        self._app.conf.update(celery_settings(settings))
        # redis-py connects again by itself; what is left of a connection to RabbitMQ is only found out by using it.
        once_more = {"max_retries": 1, "interval_start": 0}
        self._sending = {"retry": True, "retry_policy": once_more} if is_rabbitmq(settings) else {"retry": False}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="publisher")
        self._audit_timer: asyncio.TimerHandle | None = None
        self._audit_wake: asyncio.Task[None] | None = None

    async def publish(self, message: Message, traces: Sequence[str] = ()) -> bool:
        """Send a message and tell whether the broker has it. Never raises: the work is in the database as well.

        `traces` are what led to it: the first goes on through the message, the others are linked to.
        """
        if not isinstance(message, SYNCS):
            return await self._publish(message)
        name, kind, parent = f"send {message.wire_name}", Kind.PRODUCER, next(iter(traces), None)
        with tracing.span(name, kind, parent=parent, links=traces[1:], queue=message.queue.value):
            return await self._publish(message)

    async def publish_once(self, item_id: UUID, trigger: SyncTrigger, traces: Sequence[str] = ()) -> bool:
        """Send one `sync.item` unless one waits already: a burst of notices is one message."""
        return await self.publish_each_once([item_id], trigger, {item_id: traces})

    async def publish_each_once(
        self, item_ids: Sequence[UUID], trigger: SyncTrigger, traces: Mapping[UUID, Sequence[str]] | None = None
    ) -> bool:
        """Send for each Item that no message waits for, and tell whether the broker has all of them.

        A message an Item, in a burst one for ten. `traces` are what led to each; those of an Item whose message waits
        already are left for its sync to link to.
        """
        is_sent, told = True, traces or {}
        flagged = await self._flag(item_ids)
        for message in _messages(flagged, trigger):
            named = message.item_ids if isinstance(message, SyncItems) else (message.item_id,)
            is_sent &= await self.publish(message, [trace for item_id in named for trace in told.get(item_id, ())])
        for item_id in {item_id for item_id in told if told[item_id]}.difference(flagged):
            await leave_traces(self._redis, item_id, told[item_id])
        return is_sent

    async def _flag(self, item_ids: Sequence[UUID]) -> list[UUID]:
        """Flag Items as queued and return those that were not; without Redis all of them, for twice is harmless."""
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for item_id in item_ids:
                    pipe.set(keys_of(item_lease(item_id))[2], "1", nx=True, ex=QUEUED_SECONDS)
                flagged = await pipe.execute()
        except RedisError as error:
            log.warning("queued_flag_failed", error=type(error).__name__, items=len(item_ids))
            return list(item_ids)
        return [item_id for item_id, is_new in zip(item_ids, flagged, strict=True) if is_new]

    async def _publish(self, message: Message) -> bool:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, copy_context().run, self._send, message)
        except (OperationalError, OSError, RedisError, AMQPError) as error:
            log.warning("publish_failed", message=message.wire_name, error=type(error).__name__)
            return False
        return True

    def wake_audit_soon(self) -> None:
        """Wake the audit consumer in a moment, once for all that is committed until then.

        A wake-up that is lost is made up for by beat.
        """
        if self._audit_timer is None:
            loop = asyncio.get_running_loop()
            # In a context of its own: it is for everybody, and must not log with the ids of whoever came first.
            self._audit_timer = loop.call_later(AUDIT_WAKE_DELAY_SECONDS, self._wake_audit_now, context=Context())

    def _wake_audit_now(self) -> None:
        self._audit_timer = None
        self._audit_wake = asyncio.get_running_loop().create_task(self._wake_audit())

    async def _wake_audit(self) -> None:
        try:
            if await self._redis.set(AUDIT_WAKE_KEY, "1", nx=True, ex=AUDIT_WAKE_SECONDS):
                await self.publish(ConsumeAudit())
        except RedisError:
            log.warning("audit_wake_failed")

    async def audit_woken(self) -> None:
        """Clear the wake-up before draining, so that whatever is written from now on wakes the consumer again.

        Without Redis it runs out by itself, and what is in the outbox is sealed all the same.
        """
        try:
            await self._redis.delete(AUDIT_WAKE_KEY)
        except RedisError as error:
            log.warning("audit_wake_not_cleared", error=type(error).__name__)

    def close(self) -> None:
        """Let the last message out and close the connection."""
        if self._audit_timer is not None:
            self._audit_timer.cancel()
        self._thread.shutdown(wait=True)
        self._app.close()

    def _send(self, message: Message) -> None:
        # When it was sent, for whoever looks how long the oldest message of a queue has waited.
        headers: dict[str, float | str] = {SENT_AT: time.time()}
        if isinstance(message, SYNCS) and (traceparent := tracing.current()):
            headers[TRACEPARENT] = traceparent
        options = {"queue": message.queue.value, "ignore_result": True, "headers": headers, **self._sending}
        self._app.send_task(message.wire_name, kwargs=message.arguments(), **options)


def _messages(item_ids: Sequence[UUID], trigger: SyncTrigger) -> Iterator[SyncItem | SyncItems]:
    if len(item_ids) <= FEW:
        yield from (SyncItem(item_id, trigger) for item_id in item_ids)
        return
    for start in range(0, len(item_ids), BUNDLE):
        yield SyncItems(tuple(item_ids[start : start + BUNDLE]), trigger)
