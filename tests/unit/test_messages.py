import importlib

from core.broker.messages import MESSAGES, SYNC_QUEUES, Queue
from core.models import SyncTrigger


def test_each_message_has_a_task_and_each_task_a_message(monkeypatch):
    monkeypatch.setenv("MANNA_ENVIRONMENT", "test")
    app = importlib.import_module("worker.app").app
    app.loader.import_default_modules()
    tasks = {name for name in app.tasks if not name.startswith("celery.")}
    assert tasks == {message.wire_name for message in MESSAGES}


def test_each_trigger_has_a_queue_that_the_worker_serves():
    assert set(SYNC_QUEUES) == set(SyncTrigger)
    assert set(SYNC_QUEUES.values()) <= set(Queue)


def test_lost_messages_come_back_and_nothing_is_pickled(monkeypatch):
    monkeypatch.setenv("MANNA_ENVIRONMENT", "test")
    conf = importlib.import_module("worker.app").app.conf
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.accept_content == ["json"]
    assert conf.task_create_missing_queues is False
    assert conf.broker_transport_options["unacked_restore_interval"] == 2
