"""Redis behind three sentinels, for messages, leases and limits: its master changes in the middle of a round of syncs.

Every Item has the bank's changes afterwards, nothing is doubled, and no process had to be started anew. With TLS, each
certificate on the way is verified: the sentinels' and the master's.
"""

import asyncio

import pytest
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from core.redis_connection import open_redis, ping_redis
from core.settings import load_settings
from devstack.places import make_directory
from devstack.processes import open_supervisor
from tests.availability.house import HELD, PATIENCE_SECONDS
from tests.availability.sentinels import Sentinels, Tls
from tests.availability.start import last_word_of_a_worker
from tests.database.conftest import HOST
from tests.database.test_redis_connection import publish

# The embedded server is built without TLS.
over_tls = pytest.mark.extras("redis-server")
UNTRUSTED = "certificate verify failed: self-signed certificate in certificate chain"


@pytest.fixture
def make_redis(request, authority):
    def make(supervisor, directory):
        tls = request.param == "tls"
        return Sentinels(supervisor, directory, Tls(authority.issue("redis", HOST), authority.file) if tls else None)

    return make


async def half_done(house):
    """Wait until only what the bank holds is in hand: who ends while there is no master cannot give the lease back."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(house.redis.master.ask("KEYS", "lease:*")) != HELD:
            await house.connection.execute("SELECT pg_sleep(0.05)")


async def the_master_is_killed(house):
    await half_done(house)
    house.redis.lose_the_master()


@pytest.mark.parametrize(
    ("make_redis", "disturb"),
    [
        pytest.param("plain", the_master_is_killed, id="killed"),
        pytest.param("tls", the_master_is_killed, id="killed-over-tls", marks=over_tls),
    ],
    indirect=["make_redis"],
)
async def test_a_failover_loses_and_doubles_nothing_and_ends_nobody(house, disturb, monkeypatch, record_property):
    # Longer than the failover, as in production, so that whoever is at work when the master goes may finish.
    monkeypatch.setenv("SYNC_LOCK_TTL_SECONDS", "15")
    house.start_worker("one")
    house.start_worker("two")
    house.start_beat()
    await house.link()
    record_property("seconds", round(await house.disturbed(disturb, loses_messages=True), 1))
    house.assert_alive()


@pytest.fixture
def certificates(authority, stranger, tmp_path):
    """A good one and one of a stranger, by servers that trust both."""
    both = tmp_path / "both.pem"
    both.write_text(authority.file.read_text() + stranger.file.read_text())
    return [Tls(issuer.issue("redis", HOST), both) for issuer in (authority, stranger)]


@over_tls
@pytest.mark.parametrize("strange", ["sentinels", "masters"])
async def test_an_untrusted_certificate_is_refused_in_one_line(authority, certificates, settings, monkeypatch, strange):
    masters, sentinels = certificates if strange == "sentinels" else reversed(certificates)
    with open_supervisor() as supervisor:
        directory = make_directory()
        supervisor.own(directory)
        servers = Sentinels(supervisor, directory, sentinels, masters)
        servers.start()
        monkeypatch.setenv("REDIS_URL", servers.url)
        redis = open_redis(load_settings())
        await ping_redis(redis, load_settings())
        await redis.aclose()
        await asyncio.to_thread(publish, load_settings())

        monkeypatch.setenv("REDIS_URL", servers.url_for(authority.file))
        where = f"Redis at rediss-sentinel://{servers.hosts}/0"
        assert last_word_of_a_worker() == f"manna: {where} is not reachable: {UNTRUSTED}"
        with pytest.raises((OperationalError, RedisError)):
            await asyncio.to_thread(publish, load_settings())
