"""Progress of a bulk action: a bar on a terminal, a plain line now and then otherwise; both on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Advance = Callable[[int], None]
LINES = 10


@contextmanager
def progress(name: str, total: int) -> Iterator[Advance]:
    """Give a function that is told how many are done since the last time."""
    console = Console(stderr=True)
    if total <= LINES:
        # Over before anybody has read it.
        yield lambda _: None
    elif not console.is_terminal:
        yield _plain_lines(console, name, total)
    else:
        columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(name, total=total)
            yield lambda done: bar.advance(task, done)


def _plain_lines(console: Console, name: str, total: int) -> Advance:
    done, told = 0, 0

    def advance(more: int) -> None:
        nonlocal done, told
        done += more
        if done * LINES // max(total, 1) > told:
            told = done * LINES // max(total, 1)
            console.print(f"{name} {done} of {total}", highlight=False)

    return advance
