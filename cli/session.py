"""Runs one use case for a command: opens the process's resources, closes them, in one loop."""

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from typing import TypeVar

from core.resources import Resources, open_resources
from core.settings import load_settings
from core.telemetry.logs import configure_logs

T = TypeVar("T")


def operator() -> str:
    """Return who is at the keyboard, as the audit log names them."""
    return f"operator:{getpass.getuser()}"


def run(use_case: Callable[[Resources], Awaitable[T]]) -> T:
    """Return what a use case returns; its logs are warnings and worse, a command speaks for itself."""
    settings = load_settings()
    configure_logs(settings.environment, "WARNING")

    async def opened() -> T:
        async with open_resources(settings) as resources:
            return await use_case(resources)

    return asyncio.run(opened())
