"""Scripts for Redis, several in one round trip: what the tasks of a loop ask for at the same time travels together."""

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from core.batching import Batched


class PipelinedScripts:
    """Runs Lua scripts as `Redis.eval` does; each caller gets its own answer or error."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._run: Batched[tuple[Any, ...], Any] = Batched(self._run_many, largest=100)

    async def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any:
        """Run a Lua script."""
        return await self._run((script, numkeys, *keys_and_args))

    async def _run_many(self, calls: Sequence[tuple[Any, ...]]) -> Sequence[Any]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for call in calls:
                pipeline.eval(*call)
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers
