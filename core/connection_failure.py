"""Why a connection was not made, in a few words that hold no address, log-in or query."""

import re

# redis-py wraps it, and for sentinels keeps nothing but the text.
_REFUSED = re.compile(r"certificate verify failed: [^(\n]+")


def failure_of(error: BaseException) -> str:
    """Return what is wrong with the other side's certificate if that is the reason, else the error's type."""
    refused = _REFUSED.search(str(error))
    return refused[0].rstrip(" .") if refused else type(error).__name__
