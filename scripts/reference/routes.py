"""The page of HTTP routes, from the OpenAPI description that `manna web` serves."""

from collections.abc import Iterator
from typing import Any

from core.settings import Settings
from web.app import make_app

NAME = "routes.md"
HEAD = """# HTTP routes

Written from the code by `python -m scripts.reference`; a test holds it to the code.

What `/openapi.json` describes, in short.

| route | does | answers |
|---|---|---|"""


def page() -> str:
    """Return the page's text."""
    described = make_app(Settings.model_construct()).openapi()
    return "\n".join([HEAD, *_rows(described["paths"]), ""])


def _rows(paths: dict[str, Any]) -> Iterator[str]:
    for path, methods in sorted(paths.items()):
        for method, told in methods.items():
            answers = ", ".join(sorted(told["responses"]))
            yield f"| `{method.upper()} {path}` | {_meaning(told)} | {answers} |"


def _meaning(told: dict[str, Any]) -> str:
    # The first line of the function's docstring promises; FastAPI's own summary only repeats its name.
    first, *_ = (told.get("description") or told.get("summary", "")).splitlines()
    return str(first).replace("|", "\\|")
