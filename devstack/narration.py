"""Tells what happens: a live bar and a table on a terminal, one plain line after another everywhere else."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table


class Narration(Protocol):
    """How a story is told; nothing in it decides anything."""

    def say(self, line: str) -> None:
        """Tell one thing that happened."""

    def progress(self, what: str, done: int, goal: int) -> None:
        """Tell how far something is; to be called as often as there is news."""

    def summary(self, title: str, figures: Mapping[str, str]) -> None:
        """Tell the figures at the end."""


class PlainNarration:
    """For logs and pipes: a line at every tenth of the way, so that a long way is no flood."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: dict[str, int] = {}

    def say(self, line: str) -> None:
        """Print a line at once."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def progress(self, what: str, done: int, goal: int) -> None:
        """Print the tenth that was reached, once."""
        tenth = 10 * done // goal if goal else 10
        if self._told.get(what) != tenth:
            self._told[what] = tenth
            self.say(f"  {done:,} of {goal:,} {what}")

    def summary(self, title: str, figures: Mapping[str, str]) -> None:
        """Print a figure a line."""
        width = max(map(len, figures))
        self.say(title)
        for name, figure in figures.items():
            self.say(f"  {name:{width}}  {figure}")


class LiveNarration(PlainNarration):
    """For a terminal: bars that move, and a table."""

    def __init__(self, console: Console, bars: Progress) -> None:
        super().__init__(console)
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def progress(self, what: str, done: int, goal: int) -> None:
        """Move the bar."""
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=goal)
        self._bars.update(self._tasks[what], completed=done, total=goal)

    def summary(self, title: str, figures: Mapping[str, str]) -> None:
        """Print a table."""
        table = Table(title=title, show_header=False, title_justify="left", title_style="bold")
        for name, figure in figures.items():
            table.add_row(name, figure)
        self._console.print(table)


@contextmanager
def open_narration(console: Console | None = None) -> Iterator[Narration]:
    """Open the way of telling that suits where standard output goes."""
    chosen = console or Console()
    if not chosen.is_terminal:
        yield PlainNarration(chosen)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=chosen) as bars:
        yield LiveNarration(chosen, bars)
