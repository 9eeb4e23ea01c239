"""kombu's Redis transport, whose messages can be acknowledged after their connection was lost.

kombu forgets the address together with the connection. A worker that has tasks in hand when Redis restarts then ends,
with `AttributeError: 'NoneType' object has no attribute 'hostname'`, at the first of them that is put back or done.
"""

from typing import Any

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.redis import Channel, SentinelChannel, SentinelTransport, Transport


class _KeepsItsPool:
    """Keeps the pool that acknowledges: disconnected, it connects again, and Redis knows a message by its tag alone."""

    _kept: Any = None

    def _get_pool(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - kombu's signature
        if asynchronous:
            return super()._get_pool(asynchronous=True)  # type: ignore[misc]  # of the channel that this is mixed into
        if self._kept is None:
            self._kept = super()._get_pool()  # type: ignore[misc]  # as above
        return self._kept


class LastingChannel(_KeepsItsPool, Channel):
    """A channel to one Redis."""


class LastingSentinelChannel(_KeepsItsPool, SentinelChannel):
    """A channel to the master that the sentinels name."""


class LastingTransport(Transport):
    """For `redis://` and `rediss://`."""

    Channel = LastingChannel


class LastingSentinelTransport(SentinelTransport):
    """For `sentinel://`."""

    Channel = LastingSentinelChannel


def install_redis_transport() -> None:
    """Have this process's connections use it.

    By the scheme, which kombu looks up anew at every failover; a transport named in the settings lasts until the first.
    """
    lasting = f"{__name__}:{LastingTransport.__name__}"
    sentinel = f"{__name__}:{LastingSentinelTransport.__name__}"
    TRANSPORT_ALIASES.update(redis=lasting, rediss=lasting, sentinel=sentinel)
