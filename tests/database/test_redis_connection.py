"""`rediss://` with authority and host name, `sentinel://` with a failover, for redis-py and for kombu alike."""

import asyncio
import gc
import ssl
import sys
from contextlib import contextmanager

import pytest
from celery import Celery
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import make_url

from core.broker.transport import celery_settings
from core.errors import ConfigurationError
from core.redis_connection import SentinelAddress, broker_settings, open_blocking_redis, open_redis, ping_redis
from core.settings import load_settings
from devstack.places import answers, free_port, make_directory
from devstack.processes import open_supervisor
from devstack.valkey import Valkey
from tests.database.conftest import HOST


@contextmanager
def tls_before(redis_url, certificate):
    """The wheel's Valkey is built without TLS: a terminator before it, as many deployments have one."""
    target, port = make_url(redis_url), free_port()
    files = [str(certificate.with_suffix(suffix)) for suffix in (".pem", ".key")]
    with open_supervisor() as supervisor:
        directory = make_directory()
        supervisor.own(directory)
        argv = [sys.executable, "-m", "tests.database.tls_terminator", *files, str(port), str(target.port)]
        supervisor.start("terminator", argv, log=directory / "terminator.log")
        supervisor.wait_ready("terminator", lambda: answers(port))
        yield target.set(drivername="rediss", port=port)


def publish(settings):
    app = Celery("test", set_as_current=False)
    app.conf.update(celery_settings(settings))
    try:
        app.send_task("a.task", queue="maintenance", retry=False, ignore_result=True)
    finally:
        app.close()


def settings_of(url, **query):
    address = url.update_query_dict({name: str(value) for name, value in query.items()})
    return load_settings(redis_url=address.render_as_string(hide_password=False), connect_timeout_seconds=5)


async def test_the_right_certificate_is_taken_by_both_libraries(redis_url, authority):
    with tls_before(redis_url, authority.issue("redis", HOST)) as url:
        settings = settings_of(url, ssl_ca_certs=authority.file)
        async with open_redis(settings) as redis:
            await ping_redis(redis, settings)
            await asyncio.to_thread(publish, settings)
            assert await redis.llen("maintenance") == 1


async def test_a_user_without_a_password_gets_it_from_the_secrets(redis_url, monkeypatch):
    async with Redis.from_url(redis_url) as admin:
        await admin.acl_setuser("ops", enabled=True, passwords=["+p@ss/word:1"], keys=["*"], categories=["+@all"])
        monkeypatch.setenv("REDIS_PASSWORD", "p@ss/word:1")
        settings = settings_of(make_url(redis_url)._replace(username="ops", password=None))
        async with open_redis(settings) as redis:
            assert await redis.acl_whoami() == "ops"
            await asyncio.to_thread(publish, settings)
            assert await redis.llen("maintenance") == 1
        monkeypatch.delenv("REDIS_PASSWORD")
        with pytest.raises(ConfigurationError, match="the secret redis_password is missing"):
            open_redis(settings)
        await admin.acl_deluser("ops")


# redis-py lets go of the transport of a failed handshake without closing it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["expired", "wrong host", "wrong authority"])
async def test_a_bad_certificate_gets_no_connection(redis_url, authority, stranger, kind):
    certificate = {
        "expired": lambda: authority.issue("redis-expired", HOST, expired=True),
        "wrong host": lambda: authority.issue("redis-other", "redis.example"),
        "wrong authority": lambda: stranger.issue("redis-strange", HOST),
    }[kind]()
    with tls_before(redis_url, certificate) as url:
        settings = settings_of(url, ssl_ca_certs=authority.file)
        async with open_redis(settings) as redis:
            with pytest.raises(RedisConnectionError, match="certificate"):
                await redis.ping()
    gc.collect()  # here, where it is expected, and not in somebody else's test


def test_kombu_is_told_to_look_at_the_certificate(authority):
    url = make_url(f"rediss://redis/0?ssl_cert_reqs=none&ssl_ca_certs={authority.file}")
    expected = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True, "ssl_ca_certs": str(authority.file)}
    assert broker_settings(settings_of(url))["broker_use_ssl"] == expected


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://redis/0", "accepted is rediss://"),
        ("rediss://redis/0?ssl_cert_reqs=none", "switches the certificate's check off"),
        ("rediss://redis/0?ssl_check_hostname=false", "switches the certificate's check off"),
    ],
)
def test_production_speaks_tls_to_redis(monkeypatch, url, reason):
    monkeypatch.setenv("MANNA_ENVIRONMENT", "production")
    with pytest.raises(ConfigurationError, match=reason):
        open_redis(load_settings(redis_url=url))


def test_production_may_accept_redis_in_the_clear(monkeypatch):
    monkeypatch.setenv("MANNA_ENVIRONMENT", "production")
    monkeypatch.setenv("MANNA_ACCEPT_RISK", "REDIS_TLS")
    assert open_redis(load_settings(redis_url="redis://redis/0"))


@pytest.mark.parametrize("url", ["sentinel://host/0", "sentinel:///0?master=m", "sentinel://host:port/0?master=m"])
def test_a_wrong_sentinel_is_one_line(url):
    with pytest.raises(ConfigurationError, match=r"REDIS_URL .* accepted is sentinel://"):
        SentinelAddress.of(url)


@pytest.fixture
def sentinel_url():
    """A master that a sentinel watches."""
    with open_supervisor() as supervisor:
        directory = make_directory()
        supervisor.own(directory)
        master = Valkey(supervisor, directory, durable=False)
        master.start()
        port = free_port()
        configuration = directory / "sentinel.conf"
        configuration.write_text(
            f"bind 127.0.0.1\nport {port}\ndir {directory}\nsentinel monitor manna 127.0.0.1 {master.port} 1\n"
            f"sentinel auth-pass manna {master.password}\n"
        )
        argv = [str(master._binary()), str(configuration), "--sentinel"]
        supervisor.start("sentinel", argv, log=directory / "sentinel.log")
        supervisor.wait_ready("sentinel", lambda: "+monitor" in (directory / "sentinel.log").read_text())
        yield f"sentinel://:{master.password}@127.0.0.1:{port}/3?master=manna"


async def test_the_sentinel_tells_both_libraries_where_the_master_is(sentinel_url):
    settings = load_settings(redis_url=sentinel_url)
    redis = open_redis(settings)
    await ping_redis(redis, settings)
    await asyncio.to_thread(publish, settings)
    assert await redis.llen("maintenance") == 1
    await redis.aclose()


async def test_a_sentinel_that_is_gone_is_asked_once_before_the_next(sentinel_url):
    asked = []

    async def hang_up(_, writer):
        asked.append(writer)
        writer.close()

    async with await asyncio.start_server(hang_up, HOST, 0) as gone:
        port = gone.sockets[0].getsockname()[1]
        settings = load_settings(redis_url=sentinel_url.replace(f"@{HOST}:", f"@{HOST}:{port},{HOST}:"))
        redis = open_redis(settings)
        await ping_redis(redis, settings)
        await redis.aclose()
        assert len(asked) == 1
        with open_blocking_redis(settings) as blocking:
            await asyncio.to_thread(blocking.ping)
        assert len(asked) == 2
        # kombu has two pools.
        await asyncio.to_thread(publish, settings)
        assert len(asked) == 4
