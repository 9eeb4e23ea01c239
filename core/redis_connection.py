"""Redis by one address for two libraries: redis-py for locks and limits, kombu for the broker.

`rediss://` takes redis-py's own parameters (`ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`); a certificate is always
required and its host name checked. `sentinel://user:password@host1:26379,host2:26379/0?master=NAME` asks the
sentinels for the master, with `sentinel_password` where they have one of their own; `rediss-sentinel://` is the same
over TLS, to the sentinels and to the master, with the parameters of `rediss://`. An address that names a user and no
password (`redis://default@host:6379/0`) gets the secret `redis_password`.
"""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry as BlockingRetry
from redis.sentinel import Sentinel as BlockingSentinel

from core.connection_failure import failure_of
from core.errors import ConfigurationError, UnavailableError
from core.secrets import get_secret
from core.secrets.names import SecretName
from core.settings import REDIS_TLS_RISK, Settings

TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
# kombu's own default is not to look at the certificate.
VERIFIED = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True}
SENTINEL_SCHEMES = ("sentinel://", "rediss-sentinel://")
ENCRYPTED_SCHEMES = ("rediss://", "rediss-sentinel://")
SENTINEL_PORT = 26379
SENTINEL_EXAMPLE = "sentinel://:password@host1:26379,host2:26379/0?master=mymaster"


@dataclass(frozen=True, slots=True)
class SentinelAddress:
    """The sentinels to ask, the name of the master that they watch, and how to log in to both.

    `tls` is what redis-py needs for both, None in the clear.
    """

    hosts: tuple[tuple[str, int], ...]
    master: str
    database: int
    username: str | None
    password: str | None = field(repr=False)
    sentinel_password: str | None = field(repr=False)
    tls: dict[str, Any] | None = None

    @classmethod
    def of(cls, url: str) -> "SentinelAddress":
        """Read a `sentinel://` or `rediss-sentinel://` address.

        Raises:
            ConfigurationError: it names no host or no master, or a port or database that is no number.
        """
        parts = urlsplit(url)
        credentials, _, hosts = parts.netloc.rpartition("@")
        username, _, password = credentials.partition(":")
        query = dict(parse_qsl(parts.query))
        try:
            addresses = tuple(_host_and_port(host) for host in hosts.split(",") if host)
            database = int(parts.path.strip("/") or 0)
        except ValueError:
            addresses, database = (), 0
        if not addresses or not query.get("master"):
            raise ConfigurationError(f"REDIS_URL is not a sentinel's address; accepted is {SENTINEL_EXAMPLE}")
        secrets = (unquote(password) or None, query.get("sentinel_password"))
        tls = _tls(parts.query) if url.startswith(ENCRYPTED_SCHEMES) else None
        return cls(addresses, query["master"], database, unquote(username) or None, *secrets, tls)

    @property
    def broker_url(self) -> str:
        """The same for kombu, which wants a whole address for each sentinel."""
        login = f"{quote(self.username or '')}:{quote(self.password or '', safe='')}@" if self.password else ""
        return ";".join(f"sentinel://{login}{host}:{port}/{self.database}" for host, port in self.hosts)


def _tls(query: str) -> dict[str, Any]:
    return VERIFIED | {name: value for name, value in parse_qsl(query) if name in TLS_FILES}


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.partition(":")
    return host, int(port or SENTINEL_PORT)


def redis_address(settings: Settings) -> str:
    """Return `REDIS_URL` with the secret `redis_password` put in where it names a user and no password.

    Raises:
        ConfigurationError: no provider of secrets has it.
    """
    parts = urlsplit(settings.redis_url)
    login, _, host = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    if password or not user:
        return settings.redis_url
    login = f"{user}:{quote(get_secret(SecretName.REDIS_PASSWORD) or '', safe='')}"
    return urlunsplit(parts._replace(netloc=f"{login}@{host}"))


def is_sentinel(settings: Settings) -> bool:
    """Tell whether `REDIS_URL` names sentinels."""
    return settings.redis_url.startswith(SENTINEL_SCHEMES)


def check_redis_tls(settings: Settings) -> None:
    """Refuse to send ids and locks in the clear in production.

    Raises:
        ConfigurationError: production without TLS, or with certificates switched off.
    """
    if not settings.is_production or REDIS_TLS_RISK in settings.accept_risk:
        return
    query = dict(parse_qsl(urlsplit(settings.redis_url).query))
    if not settings.redis_url.startswith(ENCRYPTED_SCHEMES):
        schemes = " or ".join(ENCRYPTED_SCHEMES)
        accepted = f"{schemes} in production, or name {REDIS_TLS_RISK} in MANNA_ACCEPT_RISK"
        raise ConfigurationError(f"REDIS_URL is not encrypted; accepted is {accepted}")
    if query.get("ssl_cert_reqs", "required") != "required" or query.get("ssl_check_hostname", "true") != "true":
        raise ConfigurationError("REDIS_URL switches the certificate's check off, which production does not accept")


def open_redis(settings: Settings) -> Redis:
    """Make the Redis client of this process; nothing connects until the first use.

    Raises:
        ConfigurationError: an address that cannot be read, or one in the clear in production.
    """
    check_redis_tls(settings)
    if not is_sentinel(settings):
        return Redis.from_url(redis_address(settings), **_patience(settings))
    address = SentinelAddress.of(redis_address(settings))
    sentinel = Sentinel(address.hosts, **_to_master(address, settings, Retry(NoBackoff(), 0)))  # type: ignore[no-untyped-call]  # redis-py's
    master: WatchedMaster = sentinel.master_for(address.master, redis_class=WatchedMaster)
    master.watchers = sentinel.sentinels
    return master


def open_blocking_redis(settings: Settings) -> BlockingRedis:
    """Make the same client for beat, which has no event loop."""
    check_redis_tls(settings)
    if not is_sentinel(settings):
        return BlockingRedis.from_url(redis_address(settings), **_patience(settings))
    address = SentinelAddress.of(redis_address(settings))
    to_master = _to_master(address, settings, BlockingRetry(NoBackoff(), 0))
    sentinel = BlockingSentinel(address.hosts, **to_master)  # type: ignore[no-untyped-call]  # redis-py's
    master: BlockingRedis = sentinel.master_for(address.master)  # type: ignore[no-untyped-call]  # redis-py's
    return master


def _patience(settings: Settings) -> dict[str, Any]:
    seconds = settings.connect_timeout_seconds
    return {"socket_timeout": seconds, "socket_connect_timeout": seconds, "health_check_interval": 15}


def _to_master(address: SentinelAddress, settings: Settings, once: Retry | BlockingRetry) -> dict[str, Any]:
    login = {"username": address.username, "password": address.password, "db": address.database}
    to_sentinel = _to_sentinel(address, settings, once)
    return {"sentinel_kwargs": to_sentinel, **login, **_over_tls(address), **_patience(settings)}


def _to_sentinel(address: SentinelAddress, settings: Settings, once: Retry | BlockingRetry) -> dict[str, Any]:
    seconds = settings.connect_timeout_seconds
    # redis-py tries ten times more: minutes for one whose machine went with the master's, where the next could tell.
    patience = {"socket_timeout": seconds, "socket_connect_timeout": seconds, "retry": once}
    return {"password": address.sentinel_password, **_over_tls(address), **patience}


def _over_tls(address: SentinelAddress) -> dict[str, Any]:
    return {} if address.tls is None else {"ssl": True, **address.tls}


class WatchedMaster(Redis):
    """The master that the sentinels name; closing it closes the connections to them too."""

    watchers: Sequence[Redis] = ()

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: FBT001 - redis-py's signature
        """Close every connection."""
        await super().aclose(close_connection_pool)
        for watcher in self.watchers:
            await watcher.aclose()


def broker_settings(settings: Settings) -> dict[str, Any]:
    """Return what of Celery's configuration follows from the address: the broker's URL, TLS, the master's name."""
    if is_sentinel(settings):
        address = SentinelAddress.of(redis_address(settings))
        to_sentinel = _to_sentinel(address, settings, BlockingRetry(NoBackoff(), 0))
        options = {"master_name": address.master, "sentinel_kwargs": to_sentinel}
        return {
            "broker_url": address.broker_url,
            "broker_use_ssl": address.tls or False,
            "broker_transport_options": options,
        }
    if not settings.redis_url.startswith("rediss://"):
        return {"broker_url": redis_address(settings), "broker_transport_options": {}}
    url, _, query = redis_address(settings).partition("?")
    return {"broker_url": url, "broker_use_ssl": _tls(query), "broker_transport_options": {}}


def shown(settings: Settings) -> str:
    """Return where Redis is, without log-in and parameters."""
    parts = urlsplit(settings.redis_url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


async def ping_redis(redis: Redis, settings: Settings) -> None:
    """Return once Redis has answered.

    Raises:
        UnavailableError: it did not.
    """
    try:
        await redis.ping()
    except (RedisError, OSError) as error:
        reason = failure_of(await _cause(redis, error))
        raise UnavailableError(f"Redis at {shown(settings)} is not reachable: {reason}") from None


async def _cause(redis: Redis, error: Exception) -> Exception:
    """Return why no sentinel has answered, which redis-py keeps to itself: they are asked once more."""
    watchers = redis.watchers if isinstance(error, MasterNotFoundError) and isinstance(redis, WatchedMaster) else ()
    for watcher in watchers:
        try:
            await watcher.ping()
        except (RedisError, OSError) as refused:
            return refused
    return error
