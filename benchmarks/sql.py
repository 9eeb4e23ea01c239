"""One statement on a connection of its own, for a program that is not async."""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg

POLL_SECONDS = 0.05


def fetch(database_url: str, query: str, *arguments: Any) -> list[Any]:
    """Run a query and return its rows."""

    async def run() -> list[Any]:
        connection = await asyncpg.connect(database_url)
        try:
            rows: list[Any] = await connection.fetch(query, *arguments, timeout=1800)
            return rows
        finally:
            await connection.close()

    return asyncio.run(run())


def fetch_value(database_url: str, query: str, *arguments: Any) -> Any:
    """Run a query and return the first field of its first row."""
    return fetch(database_url, query, *arguments)[0][0]


def execute(database_url: str, statements: str) -> None:
    """Run one or more statements without arguments, in one transaction if they can be."""

    async def run() -> None:
        connection = await asyncpg.connect(database_url)
        try:
            await connection.execute(statements, timeout=1800)
        finally:
            await connection.close()

    asyncio.run(run())


def wait_until(
    database_url: str,
    query: str,
    *arguments: Any,
    is_over: Callable[[Any], bool],
    seconds: float,
    poll_seconds: float = POLL_SECONDS,
) -> None:
    """Ask for one value on one connection, again and again, until it is as wanted.

    Raises:
        TimeoutError: it was not after so many seconds.
    """

    async def run() -> None:
        connection = await asyncpg.connect(database_url)
        try:
            async with asyncio.timeout(seconds):
                while not is_over(await connection.fetchval(query, *arguments)):  # noqa: ASYNC110 - other processes commit
                    await asyncio.sleep(poll_seconds)
        finally:
            connection.terminate()

    asyncio.run(run())
