"""`manna demo` and `manna up`: the whole service on this machine, with servers and bank of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from core.errors import MannaError

Transactions = Annotated[int, typer.Option(min=0, max=10_000, help="How many transactions each has.")]


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        from devstack.errors import StackError  # noqa: PLC0415 - the service runs where the stack is not installed
    except ModuleNotFoundError:
        raise MannaError(
            "the image brings no servers to start: run `manna demo` and `manna up` in a checkout"
        ) from None
    try:
        yield
    except StackError as error:
        raise MannaError(str(error)) from None


def demo(
    items: Annotated[int, typer.Option(min=1, max=1000, help="How many Items to link.")] = 60,
    transactions: Transactions = 1000,
    only: Annotated[
        bool, typer.Option("--check-only", help="Only compare the stack that `manna up` keeps running.")
    ] = False,
) -> None:
    """Sync sample Items end to end and compare every row. Example: manna demo --items 10."""
    with _one_line():
        from devstack.demo import check_only, run_demo  # noqa: PLC0415 - as above

        raise typer.Exit(check_only() if only else run_demo(items, transactions))


def up(
    items: Annotated[int, typer.Option(min=1, max=1000, help="How many Items to link.")] = 10,
    transactions: Transactions = 500,
) -> None:
    """Run the whole stack with sample Items until Ctrl-C. Example: manna up --items 3."""
    with _one_line():
        from devstack.up import run_up  # noqa: PLC0415 - as above

        run_up(items, transactions)
