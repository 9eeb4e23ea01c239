"""`manna` in a thread of the test's own process: starting Python anew would cost more than the tests."""

import asyncio

import pytest
from typer.testing import CliRunner

from cli import session
from cli.main import app
from core.errors import MannaError


async def manna(*arguments: str, given: str = "") -> str:
    """Run a command and return what it printed, or its error as `manna` would print it."""
    with pytest.MonkeyPatch.context() as patch:
        # Logging belongs to the whole process, and this one is the test's.
        patch.setattr(session, "configure_logs", lambda *_: None)
        result = await asyncio.to_thread(CliRunner().invoke, app, arguments, input=given)
    if result.exception is not None and not isinstance(result.exception, (MannaError, SystemExit)):
        raise result.exception
    return f"manna: {result.exception}" if isinstance(result.exception, MannaError) else result.stdout
