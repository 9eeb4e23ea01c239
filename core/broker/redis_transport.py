"""kombu's Redis transport, whose messages are leased, and can be acknowledged after their connection was lost.

What a worker has in hand it says so of every two seconds; what nobody has said so of for ten belonged to one that died,
and goes back to its queue. kombu alone would leave it there until the longest of tasks must be over.

kombu forgets the address together with the connection. A worker that has tasks in hand when Redis restarts then ends,
with `AttributeError: 'NoneType' object has no attribute 'hostname'`, at the first of them that is put back or done.
"""

import time
from typing import Any

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport.redis import Channel, QoS, SentinelChannel, SentinelTransport, Transport

# By the hosts' own clocks: they must agree within some seconds, or a message is worked on twice.
LEASE_SECONDS = 10
RENEW_SECONDS = 2


class LeasedQoS(QoS):
    """Renews what this worker has in hand before it looks for what others have left behind."""

    def restore_visible(self, *args: Any, **kwargs: Any) -> None:
        """Renew and give back: called by the worker's loop every `RENEW_SECONDS`."""
        # Other threads acknowledge meanwhile, and only what is still there is renewed.
        if in_hand := list(set(self._delivered).difference(self._dirty)):
            with self.channel.conn_or_acquire() as client:
                client.zadd(self.unacked_index_key, dict.fromkeys(in_hand, time.time()), xx=True)
        super().restore_visible(*args, **kwargs)  # type: ignore[no-untyped-call]  # kombu's


class _KeepsItsPool:
    """Keeps the pool that acknowledges: disconnected, it connects again, and Redis knows a message by its tag alone."""

    QoS = LeasedQoS
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
