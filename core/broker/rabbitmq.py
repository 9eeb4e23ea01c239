"""RabbitMQ as the broker, where `BROKER_URL` names one: quorum queues, which live through the loss of a node.

Leases, limits and flags stay in Redis. `amqps://` always verifies the certificate and its host name; `?ca_certs=FILE`
names an authority of one's own.
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from amqp.exceptions import AMQPError, NotFound  # type: ignore[import-untyped]  # amqp publishes no types
from kombu import Connection, Exchange  # type: ignore[attr-defined]  # kombu loads its names lazily
from kombu import Queue as KombuQueue  # type: ignore[attr-defined]  # the same
from kombu.exceptions import OperationalError

from core.broker.messages import Queue
from core.connection_failure import failure_of
from core.errors import ConfigurationError, UnavailableError
from core.settings import BROKER_TLS_RISK, Settings

# Queues are bound to it by name; Celery's delayed delivery needs a topic exchange.
EXCHANGE = Exchange("manna", type="topic")  # type: ignore[no-untyped-call]  # kombu's
QUORUM = {"x-queue-type": "quorum"}
TLS_FILES = ("ca_certs", "certfile", "keyfile")
HEARTBEAT_SECONDS = 30


def is_rabbitmq(settings: Settings) -> bool:
    """Tell whether messages go over RabbitMQ; otherwise they go over Redis."""
    return bool(settings.broker_url)


def quorum_queues() -> list[KombuQueue]:
    """Return the queues as they are declared, by whoever comes first."""
    return [_quorum_queue(queue.value) for queue in Queue]


def _quorum_queue(name: str) -> KombuQueue:
    return KombuQueue(name, EXCHANGE, name, queue_arguments=QUORUM)  # type: ignore[no-untyped-call]  # kombu's


def rabbitmq_settings(settings: Settings) -> dict[str, Any]:
    """Return what of Celery's configuration is RabbitMQ's own.

    Raises:
        ConfigurationError: an address in the clear in production.
    """
    check_broker_tls(settings)
    return {
        **_address(settings),
        # A message counts as sent once a majority of the nodes has it.
        "broker_transport_options": {"confirm_publish": True},
        "broker_connection_timeout": settings.connect_timeout_seconds,
        "broker_heartbeat": HEARTBEAT_SECONDS,
        "task_queues": quorum_queues(),
        "task_default_exchange": EXCHANGE.name,
        "task_default_exchange_type": EXCHANGE.type,
        "task_default_routing_key": Queue.MAINTENANCE.value,
        # None of our messages is delayed: what comes later is in the database. Celery declares these all the same.
        "broker_native_delayed_delivery_queue_type": "classic",
    }


def check_broker_tls(settings: Settings) -> None:
    """Refuse to send ids in the clear in production.

    Raises:
        ConfigurationError: production without `amqps://`.
    """
    if not settings.is_production or BROKER_TLS_RISK in settings.accept_risk:
        return
    if not settings.broker_url.startswith("amqps://"):
        accepted = f"amqps:// in production, or name {BROKER_TLS_RISK} in MANNA_ACCEPT_RISK"
        raise ConfigurationError(f"BROKER_URL is not encrypted; accepted is {accepted}")


async def ping_broker(settings: Settings) -> None:
    """Return once RabbitMQ has let us in; at once where there is none.

    Raises:
        UnavailableError: it did not.
    """
    if not is_rabbitmq(settings):
        return
    check_broker_tls(settings)
    try:
        await asyncio.to_thread(_look, settings, ())
    except (AMQPError, OperationalError, OSError) as error:
        parts = urlsplit(settings.broker_url)
        where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        raise UnavailableError(f"RabbitMQ at {where} is not reachable: {failure_of(error)}") from None


async def read_depths(settings: Settings) -> dict[Queue, int]:
    """Return how many messages wait on each queue, without those that a worker has.

    Raises:
        ConnectionError: RabbitMQ does not answer.
    """
    try:
        return await asyncio.to_thread(_look, settings, tuple(Queue))
    except (AMQPError, OperationalError) as error:
        raise ConnectionError(type(error).__name__) from None


def _look(settings: Settings, queues: Sequence[Queue]) -> dict[Queue, int]:
    address = _address(settings)
    options = {"ssl": address["broker_use_ssl"], "connect_timeout": settings.connect_timeout_seconds}
    with Connection(address["broker_url"], **options) as connection:  # type: ignore[no-untyped-call]  # kombu's
        connection.connect()
        return {queue: _depth(connection, queue) for queue in queues}


def _depth(connection: Connection, queue: Queue) -> int:
    try:
        with connection.channel() as channel:  # type: ignore[no-untyped-call]  # kombu's
            return int(channel.queue_declare(queue=queue.value, passive=True).message_count)
    except NotFound:
        # Nobody has served it or sent to it yet.
        return 0


def _address(settings: Settings) -> dict[str, Any]:
    url, _, query = settings.broker_url.partition("?")
    if not url.startswith("amqps://"):
        return {"broker_url": url, "broker_use_ssl": False}
    files = {name: value for name, value in parse_qsl(query) if name in TLS_FILES}
    # The host name is checked against the one of the address.
    tls = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": urlsplit(url).hostname, **files}
    return {"broker_url": "amqp://" + url.removeprefix("amqps://"), "broker_use_ssl": tls}
