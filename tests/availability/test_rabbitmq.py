"""RabbitMQ as the broker: quorum queues, a sync end to end over them, and a broker that goes and comes back."""

import asyncio
import re
from contextlib import contextmanager

import pytest
from kombu import Connection

from core.broker.messages import Queue, SyncItem
from core.broker.rabbitmq import read_depths
from core.errors import ConfigurationError, UnavailableError
from core.identity import new_id
from core.models import SyncTrigger
from core.resources import open_resources
from core.settings import load_settings
from devstack.places import free_port
from devstack.processes import open_supervisor
from devstack.stack import SYNC_QUEUES
from tests.availability.rabbitmq import RabbitMq
from tests.availability.start import last_word_of_a_worker
from tests.database.conftest import HOST
from tests.docs.ledger import blocks_of
from worker.app import make_app

pytestmark = pytest.mark.extras("rabbitmq-server")
CHANGES = {"added": 5, "modified": 3, "removed": 2}


@contextmanager
def started(**given):
    with open_supervisor() as supervisor:
        server = RabbitMq(supervisor, **given)
        server.prepare()
        server.start()
        yield server


@pytest.fixture
def rabbitmq(settings, monkeypatch):
    with started() as server:
        monkeypatch.setenv("BROKER_URL", server.url)
        yield server


def assert_quorum_queues(url):
    """Declared anew as another kind, each that the worker serves refuses."""
    with Connection(url) as connection:
        for queue in SYNC_QUEUES.split(","):
            with connection.channel() as channel, pytest.raises(connection.channel_errors, match="x-queue-type"):
                channel.queue_declare(queue=queue, durable=True, auto_delete=False)


async def test_items_sync_over_quorum_queues_and_the_broker_may_restart(rabbitmq, stage):
    stage.start_worker("sync")
    stage.start_beat()
    await stage.link()
    await stage.until("SELECT version = 1 FROM plaid_items")
    await stage.assert_whole(commits=1)
    assert_quorum_queues(rabbitmq.url)
    assert "Global QoS is disabled" in stage.said("sync")

    rabbitmq.stop()
    await stage.ask("/control/evolve", **CHANGES)
    rabbitmq.start()
    await stage.assert_goes_on(commits=1)
    assert stage.supervisor.exited("sync") is None
    # A person's request takes the other way in: a publisher whose connection is gone.
    await stage.ask("/control/evolve", **CHANGES)
    assert "1 done, 0 failed" in stage.manna("items", "sync", "--all", "--wait")


async def test_a_publisher_lives_through_a_restart_and_what_waits_is_counted(rabbitmq, settings):
    given = load_settings()
    async with open_resources(given) as resources:
        assert await resources.publisher.publish(SyncItem(new_id(), SyncTrigger.WEBHOOK))
        assert (await read_depths(given))[Queue.WEBHOOK] == 1
        rabbitmq.stop()
        assert not await resources.publisher.publish(SyncItem(new_id(), SyncTrigger.WEBHOOK))
        with pytest.raises(ConnectionError):
            await read_depths(given)
        rabbitmq.start()
        # What was there is there: a quorum queue is durable. And nobody had to be restarted.
        assert await resources.publisher.publish(SyncItem(new_id(), SyncTrigger.WEBHOOK))
        depths = await read_depths(given)
    assert depths == {queue: 2 if queue is Queue.WEBHOOK else 0 for queue in Queue}
    assert await asyncio.to_thread(make_app(given).amqp.queues.keys) == {queue.value for queue in Queue}


def test_the_how_to_s_user_may_work():
    """What the page types on the broker's machine, and then a queue declared by the user that it made."""
    (block,) = blocks_of("tests/availability/test_rabbitmq.py::test_the_how_to_s_user_may_work")
    with started(user="administrator") as server:
        for line in block.lines:
            server.control(line, given="a-password-of-ours\n")
        url = f"amqp://manna:a-password-of-ours@127.0.0.1:{server.port}/manna"
        with Connection(url) as connection, connection.channel() as channel:
            assert channel.queue_declare(queue="sync.webhook", durable=True).message_count == 0


async def test_an_item_syncs_over_tls(authority, settings, stage, monkeypatch):
    with started(certificate=authority.issue("rabbitmq", HOST)) as server:
        monkeypatch.setenv("BROKER_URL", f"{server.url}?ca_certs={authority.file}")
        stage.start_worker("sync")
        stage.start_beat()
        await stage.link()
        await stage.until("SELECT version = 1 FROM plaid_items")
        await stage.assert_whole(commits=1)
        # Beat goes on filling the other queues while we look.
        depths = await read_depths(load_settings())
        assert [depths[queue] for queue in (Queue.WEBHOOK, Queue.SCHEDULED, Queue.BACKFILL)] == [0, 0, 0]
        stage.supervisor.stop("beat")
        stage.supervisor.stop("sync")


BAD = {
    "wrong host": ("rabbitmq.example", "IP address mismatch, certificate is not valid for '127.0.0.1'"),
    "wrong authority": (HOST, "unable to get local issuer certificate"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_certificate_is_refused_in_one_line(authority, stranger, settings, monkeypatch, kind):
    host, reason = BAD[kind]
    issuer = stranger if kind == "wrong authority" else authority
    with started(certificate=issuer.issue("rabbitmq-bad", host)) as server:
        monkeypatch.setenv("BROKER_URL", f"{server.url}?ca_certs={authority.file}")
        where = f"RabbitMQ at amqps://127.0.0.1:{server.port}//"
        assert last_word_of_a_worker() == f"manna: {where} is not reachable: certificate verify failed: {reason}"


async def test_a_broker_that_is_away_is_one_line_without_its_password(settings, monkeypatch):
    port = free_port()
    monkeypatch.setenv("BROKER_URL", f"amqp://manna:hunter2@127.0.0.1:{port}//")
    with pytest.raises(UnavailableError, match=re.escape(f"RabbitMQ at amqp://127.0.0.1:{port}// is not")) as caught:
        async with open_resources(load_settings()):
            pass
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://h/0", "http://h"])
def test_another_scheme_is_no_broker(settings, url):
    with pytest.raises(ConfigurationError, match="BROKER_URL has an unknown scheme; accepted are amqp://"):
        load_settings(broker_url=url)
