"""A worker process that dies: at a chosen step of its work nothing more happens, as after SIGKILL.

Steps are what it does to the world outside: a statement's transaction (before it, before its commit, after its commit),
a script of Redis, a page of Plaid's, a message.
"""

from contextlib import asynccontextmanager
from dataclasses import replace

from core.locking import DistributedLock
from core.locking.redis_lock import item_lease


class KilledError(BaseException):
    """The process is no more; no handler of its own is run."""


class Life:
    """How many steps are left; None is for ever."""

    def __init__(self, steps):
        self.left = steps

    def step(self):
        if self.left == 0:
            raise KilledError
        if self.left is not None:
            self.left -= 1


class MortalDatabase:
    def __init__(self, life, database):
        self._life, self._database = life, database
        self.outage = database.outage

    def transaction(self):
        return self._mortal(self._database.transaction)

    def connection(self):
        return self._mortal(self._database.connection)

    @asynccontextmanager
    async def _mortal(self, begin):
        self._life.step()
        async with begin() as opened:
            yield opened
            self._life.step()
        self._life.step()


class Mortal:
    """Whatever is awaited: it may end before, and after it has had its effect."""

    def __init__(self, life, **calls):
        self._life = life
        for name, call in calls.items():
            setattr(self, name, self._around(call))

    def _around(self, call):
        async def run(*given, **named):
            self._life.step()
            result = await call(*given, **named)
            self._life.step()
            return result

        return run

    def wake_audit_soon(self):
        self._life.step()


def mortal(resources, steps):
    """Return the resources of a worker that dies after so many steps."""
    life = Life(steps)
    scripts = Mortal(life, eval=resources.redis.eval)
    ttl = resources.settings.sync_lock_ttl_seconds
    publisher = resources.publisher
    return replace(
        resources,
        database=MortalDatabase(life, resources.database),
        together=Mortal(life, call=resources.together).call,
        plaid=Mortal(life, transactions_sync=resources.plaid.transactions_sync, post=resources.plaid.post),
        publisher=Mortal(life, publish=publisher.publish, publish_once=publisher.publish_once),
        lease=lambda item_id: DistributedLock(scripts, item_lease(item_id), ttl_seconds=ttl),
    )
