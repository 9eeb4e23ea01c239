"""What went wrong in one line: what it is, and what is accepted or comes next. No traceback but for a fault of ours."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from typer.exceptions import TyperException

from core.errors import MannaError

FAILED, INTERRUPTED = 1, 130
AWAY = "`manna doctor` tells what is wrong"


@contextmanager
def told_in_one_line() -> Iterator[None]:
    """End the process with a line on standard error and an exit code for whatever is nobody's mistake in the code.

    A reader that has gone away (`| head -1`) is no failure to tell of, and ends it with 1 and without a word.
    """
    try:
        yield
        # What stands in the buffer can fail as well, and at the interpreter's end nobody catches it.
        sys.stdout.flush()
    except BrokenPipeError:
        _let_go_of_output()
        sys.exit(FAILED)
    except KeyboardInterrupt:
        _end("interrupted", INTERRUPTED)
    except (TyperException, MannaError, SQLAlchemyError, RedisError, OSError) as error:
        _end(describe(error), getattr(error, "exit_code", FAILED))


def describe(error: Exception) -> str:
    """Return the line that tells of an error."""
    if isinstance(error, TyperException):
        return _usage(error)
    if isinstance(error, SQLAlchemyError):
        # The driver's own error says which: SQLAlchemy's classes are a handful.
        cause = (error.orig and error.orig.__cause__) or error.orig if isinstance(error, DBAPIError) else None
        return f"PostgreSQL refused or went away ({type(cause or error).__name__}); {AWAY}"
    if isinstance(error, RedisError):
        return f"Redis refused or went away ({type(error).__name__}); {AWAY}"
    return reason(error) if isinstance(error, OSError) else str(error)


def reason(error: Exception) -> str:
    """Return why a file cannot be read or written, as a person says it."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    named = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
    told = error.strerror if isinstance(error, OSError) else None
    return f"{named}{told}" if told else type(error).__name__


def _usage(error: TyperException) -> str:
    # The library breaks long texts, and names its own validator in some.
    text = " ".join(error.format_message().replace("Value error, ", "").split())
    context = getattr(error, "ctx", None)
    # Called without a command, the help itself has been printed.
    return f"{text.rstrip('.')}; see `{context.command_path} --help`" if text and context else text


def _end(line: str, code: int) -> None:
    try:
        if line:
            sys.stderr.write(f"manna: {line}\n")
        sys.stdout.flush()
    except OSError:
        # Full or closed: the interpreter would try again at its end, and end with a traceback.
        _let_go_of_output()
    sys.exit(code)


def _let_go_of_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
