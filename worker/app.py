"""The Celery app. Start-up is a function; what a server loads is the line at the end."""

import os
import sys

from celery import Celery
from celery.signals import setup_logging

from core.broker.redis_transport import install_redis_transport
from core.broker.transport import celery_settings
from core.errors import MannaError
from core.settings import Settings, load_settings
from core.telemetry.logs import configure_logs
from worker import lifecycle
from worker.schedule import beat_schedule

TASKS = (
    "tasks.sync_item",
    "tasks.sync_items",
    "tasks.replay_pages",
    "tasks.dispatch_due",
    "tasks.replay",
    "tasks.consume_audit",
    "tasks.reconcile_item",
    "tasks.verify_audit",
    "tasks.prune",
    "tasks.reencrypt",
    "tasks.revoke_item",
    "tasks.register_webhooks",
)


def make_app(settings: Settings) -> Celery:
    """Return the app of worker, beat and Flower."""
    install_redis_transport()
    app = Celery("manna", include=TASKS)
    app.conf.update(
        **celery_settings(settings),
        beat_schedule=beat_schedule(settings),
        beat_scheduler="worker.beat:LedScheduler",
        worker_consumer="worker.consumer:PromptConsumer",
        manna_time_limit=settings.sync_time_limit_seconds,
    )
    setup_logging.connect(lambda **_: configure_logs(settings.environment), weak=False)
    lifecycle.connect(settings)
    return app


def load_app() -> Celery:
    """Return the app of this process, or end it with one line that says what is wrong."""
    # Celery's command takes our BROKER_URL for its own `--broker` as well, whole and before our settings: one with
    # `?ca_certs=` would end it.
    os.environ.pop("CELERY_BROKER_URL", None)
    try:
        return make_app(load_settings())
    except MannaError as error:
        sys.exit(f"manna: {error}")


app = load_app()
