"""Steps of a sync that wait in place while PostgreSQL is away, where failing would send the Item into its back-off."""

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from core.database import Database

P = ParamSpec("P")
R = TypeVar("R")


def patient(
    step: Callable[Concatenate[Database, P], Awaitable[R]],
) -> Callable[Concatenate[Database, P], Coroutine[Any, Any, R]]:
    """Have a step begin again once PostgreSQL answers, if it was away meanwhile; for five minutes at most.

    A step must be safe to repeat, also when it was committed and only its answer was lost: an opened run is swept, a
    commit finds the version moved.
    """

    @wraps(step)
    async def waits(database: Database, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await database.outage.waited_out(lambda: step(database, *args, **kwargs))

    return waits
