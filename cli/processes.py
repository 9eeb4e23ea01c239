"""`manna web`: the ASGI server."""

from typing import Annotated

import typer

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
