"""A worker whose broker was away for long is back as soon as after a short time, and never gives up."""

from itertools import count

import pytest
from kombu import Connection
from redis.exceptions import ConnectionError as RedisConnectionError

from core.settings import load_settings
from worker.app import make_app
from worker.consumer import LONGEST_SECONDS, PromptConsumer

# Celery's own gives up after a hundred.
ATTEMPTS = 200


class UnstartedConsumer(PromptConsumer):
    """One without a worker around it."""

    def __init__(self, app):
        self.app = app
        self.first_connection_attempt = False
        self.broker_connection_retry_attempt = 0


def test_it_tries_for_ever_and_never_waits_long(settings, monkeypatch):
    waited, attempts = [], count(1)

    def refuse():
        raise RedisConnectionError("refused") if next(attempts) < ATTEMPTS else SystemExit

    monkeypatch.setattr("kombu.utils.functional.sleep", waited.append)
    connection = Connection("redis://127.0.0.1/0")
    monkeypatch.setattr(connection, "_connection_factory", refuse)
    with pytest.raises(SystemExit):
        UnstartedConsumer(make_app(load_settings())).ensure_connected(connection)
    # Celery's own would have waited for over an hour and a half by now.
    assert ATTEMPTS < sum(waited) <= ATTEMPTS * LONGEST_SECONDS
