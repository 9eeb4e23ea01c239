"""The page of messages: which task, on which queue, and what beat ticks."""

import inspect
from collections.abc import Iterator

from core.broker.messages import MESSAGES, SYNC_QUEUES, Message, Queue
from core.settings import Settings
from worker.schedule import beat_schedule

NAME = "messages.md"
HEAD = """# Tasks, queues and beat

Written from the code by `python -m scripts.reference`; a test holds it to the code.

A message carries ids and nothing else. Its wire name outlives every rename in the code.

| task | queue | arguments | does |
|---|---|---|---|"""
QUEUES = """
A sync's queue follows from its trigger, and a worker serves the queues in this order:

| queue | takes |
|---|---|"""
BEAT = """
Beat only wakes somebody who asks the database what there is to do; a tick that nobody took before the next is dropped.

| entry | task | every |
|---|---|---|"""


def page() -> str:
    """Return the page's text."""
    return "\n".join([HEAD, *map(_message, MESSAGES), QUEUES, *_queues(), BEAT, *_ticks(), ""])


def _message(message: type[Message]) -> str:
    fields = getattr(message, "__dataclass_fields__", {})
    arguments = ", ".join(f"`{name}`" for name in fields if name not in {"queue", "wire_name"}) or "none"
    fixed = fields["queue"].default.value if "queue" in fields else None
    meaning = (inspect.getdoc(message) or "").splitlines()[0]
    return f"| `{message.wire_name}` | {f'`{fixed}`' if fixed else 'of its trigger'} | {arguments} | {meaning} |"


def _queues() -> Iterator[str]:
    for queue in Queue:
        triggers = [trigger.value for trigger, taken in SYNC_QUEUES.items() if taken is queue]
        yield f"| `{queue.value}` | {', '.join(triggers) or 'messages that name it'} |"


def _ticks() -> Iterator[str]:
    for name, entry in beat_schedule(Settings.model_construct()).items():
        yield f"| `{name}` | `{entry['task']}` | {entry['schedule']:g} s |"
