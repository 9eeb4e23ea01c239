"""`manna web`: the ASGI server."""

from typing import Annotated

import typer

from core.errors import MannaError
from core.process import preflight
from core.settings import load_settings
from core.telemetry.logs import configure_logs


def web(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on.")] = 8000,
) -> None:
    """Serve webhooks, API and health. Example: manna web --port 8000."""
    settings = load_settings()
    configure_logs(settings.environment)
    preflight(settings)
    from web.app import make_app  # noqa: PLC0415 - the other commands do without the web framework's import time
    from web.server import serve  # noqa: PLC0415 - as above

    serve(make_app(settings), host, port)


def demo(
    items: Annotated[int, typer.Option(min=1, max=1000, help="How many Items to link.")] = 60,
    transactions: Annotated[int, typer.Option(min=0, max=10_000, help="How many transactions each has.")] = 1000,
) -> None:
    """Sync sample Items end to end and compare every row. Example: manna demo --items 10."""
    from devstack.demo import run_demo  # noqa: PLC0415 - the service runs where the stack is not installed
    from devstack.errors import StackError  # noqa: PLC0415 - as above

    try:
        raise typer.Exit(run_demo(items, transactions))
    except StackError as error:
        raise MannaError(str(error)) from None


def up() -> None:
    """Run the whole stack with ten sample Items until Ctrl-C. Example: manna up."""
    from devstack.demo import run_up  # noqa: PLC0415 - the service runs where the stack is not installed
    from devstack.errors import StackError  # noqa: PLC0415 - as above

    try:
        run_up()
    except StackError as error:
        raise MannaError(str(error)) from None
