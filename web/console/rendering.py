"""Pages from templates: everything that is put into one is escaped, and what a template lacks is an error."""

import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from core.access.scopes import Scope
from core.access.sessions import Session
from core.errors import Verdict
from core.models import ItemStatus, RunStatus, SyncTrigger
from web.console import charts, words

STATIC = files("web.console").joinpath("static")
MEDIA_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@cache
def templates() -> Environment:
    """Return the templates, compiled once a process."""
    environment = Environment(
        loader=PackageLoader("web.console"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= words.FILTERS
    kinds = {kind.__name__: kind for kind in (ItemStatus, RunStatus, SyncTrigger, Scope, Verdict)}
    environment.globals |= {"static": static_url, "charts": charts, **kinds}
    return environment


def render(
    request: Request,
    template: str,
    facts: dict[str, Any] | None = None,
    *,
    session: Session | None = None,
    status: int = 200,
) -> Response:
    """Return a page made of `facts`; `session` is who looks at it."""
    notice = words.NOTICES.get(request.query_params.get("done", ""))
    known = {"session": session, "path": request.url.path, "query": request.query_params, "notice": notice}
    body = templates().get_template(template).render(known | (facts or {}))
    return Response(body, status, media_type="text/html")


@cache
def static_files() -> dict[str, tuple[bytes, str, str]]:
    """Return every static file by its name: content, media type, and a digest that tells one version from another."""
    found = {}
    for file in STATIC.iterdir():
        kind = MEDIA_TYPES.get(file.name.rpartition(".")[2])
        if kind is not None:
            content = file.read_bytes()
            found[file.name] = (content, kind, hashlib.sha256(content).hexdigest()[:12])
    return found


def static_url(name: str) -> str:
    """Return the address of a static file; a new version has a new one, so that browsers may keep the old."""
    return f"/console/static/{name}?v={static_files()[name][2]}"
