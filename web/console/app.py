"""The console's routes, put together."""

from fastapi import APIRouter, HTTPException, Request, Response

from web.console.access import session_of
from web.console.page_route import PageRoute
from web.console.rendering import static_files
from web.console.routes import audit, items, login, overview, replays, runs

IMMUTABLE = "public, max-age=31536000, immutable"

router = APIRouter(route_class=PageRoute, include_in_schema=False)
for part in (login, overview, items, runs, replays, audit):
    router.include_router(part.router)


@router.get("/console/static/{name}")
async def static(name: str) -> Response:
    """Return a static file; its address changes with it, so that it may be kept."""
    found = static_files().get(name)
    if found is None:
        raise HTTPException(404, f"There is no file {name}.")
    content, kind, _ = found
    return Response(content, media_type=kind, headers={"Cache-Control": IMMUTABLE})


@router.get("/console/{_rest:path}")
async def missing(request: Request, _rest: str) -> Response:
    """Say as a page that there is none; with the ways on for whoever is logged in."""
    await session_of(request)
    raise HTTPException(404, f"There is no page {request.url.path}.")
