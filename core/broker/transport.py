"""How every process talks to the broker: one dictionary, because the smallest visibility time-out wins."""

from typing import Any

from kombu import Queue as KombuQueue  # type: ignore[attr-defined]  # kombu loads its names lazily

from core.broker.messages import Queue
from core.broker.rabbitmq import is_rabbitmq, rabbitmq_settings
from core.broker.redis_transport import LEASE_SECONDS, RENEW_SECONDS
from core.broker.serving_order import InOurOrder
from core.redis_connection import broker_settings
from core.settings import Settings


def celery_settings(settings: Settings) -> dict[str, Any]:
    """Return Celery's configuration; reasons, measured ones too, stand in docs/adr, numbers 4, 25 and 29."""
    return {
        **(rabbitmq_settings(settings) if is_rabbitmq(settings) else _redis_settings(settings)),
        "broker_connection_retry_on_startup": True,
        # For ever: a worker that gave up would have to be started by somebody.
        "broker_connection_max_retries": None,
        "task_default_queue": Queue.MAINTENANCE.value,
        "task_create_missing_queues": False,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "task_serializer": "json",
        "accept_content": ["json"],
        # A second message for each, for half of its cost: Flower shows a task once a worker has taken it.
        "task_send_sent_event": False,
        "enable_utc": True,
        "timezone": "UTC",
        "worker_pool": "threads",
        "worker_concurrency": 16,
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": True,
        "worker_hijack_root_logger": False,
        "worker_soft_shutdown_timeout": 20.0,
        # They wait for Redis where they are, or need it no more.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
    }


def _redis_settings(settings: Settings) -> dict[str, Any]:
    address = broker_settings(settings)
    return {
        **address,
        "broker_transport_options": {
            **address["broker_transport_options"],
            # Renewed by the living, whatever a task's time limit; the same in worker, beat, Flower and publishers.
            "visibility_timeout": LEASE_SECONDS,
            "unacked_restore_interval": RENEW_SECONDS,
            # One that dies while it gives back keeps the others from it no longer than that.
            "unacked_mutex_expire": LEASE_SECONDS,
            "unacked_restore_throttle": 1,
            "unacked_restore_limit": 100,
            "queue_order_strategy": f"{InOurOrder.__module__}:{InOurOrder.__name__}",
            "health_check_interval": 15,
            "socket_keepalive": True,
            "socket_timeout": 30,
            "socket_connect_timeout": settings.connect_timeout_seconds,
        },
        "task_queues": [KombuQueue(queue.value) for queue in Queue],  # type: ignore[no-untyped-call]
    }
