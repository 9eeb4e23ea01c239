"""Replays: asked for, watched, stopped, resumed. Who did so is in the audit log."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from core.queries.replays import find_replays
from core.sync.replay import create_replay, find_replay, preview, resume, stop
from web.auth import SyncsReader, SyncsReplayer, actor_of
from web.idempotency import IdempotentRoute
from web.schemas.listing import ReplayQuery, problems
from web.schemas.replays import PreviewRow, Replay, ReplayDetail, ReplayPreview, ReplayRequest
from web.schemas.words import PageOf
from web.services import services_of

router = APIRouter(tags=["replays"], route_class=IdempotentRoute)
KNOWN: dict[int | str, dict[str, Any]] = {
    200: {"model": ReplayDetail | ReplayPreview, "description": "A dry run, or the replay that is open for this."}
}


@router.post(
    "/replays", status_code=201, response_model=ReplayDetail | ReplayPreview, responses=KNOWN | problems(404, 409)
)
async def begin_replay(
    request: Request, response: Response, asked: ReplayRequest, caller: SyncsReplayer
) -> ReplayDetail | ReplayPreview:
    """Sync the failing Items that fit again, at a rate; with `dry_run` only tell which those are.

    The same selection asked for again while it is open is that replay, with 200. 404 if no failing Item fits; 409 if
    the one run that is named has no recorded pages that may be applied.
    """
    resources = services_of(request).resources
    if asked.dry_run:
        response.status_code = 200
        rows = [PreviewRow.model_validate(row) for row in await preview(resources.database, asked.selection())]
        return ReplayPreview(dry_run=True, items=sum(row.items for row in rows), rows=rows)
    found = await create_replay(resources, asked.selection(), actor_of(caller), asked.rate)
    response.status_code = 201 if found["is_new"] else 200
    response.headers["Location"] = f"/api/v1/replays/{found['id']}"
    return ReplayDetail.model_validate(found)


@router.get("/replays", responses=problems())
async def list_replays(
    request: Request, _caller: SyncsReader, asked: Annotated[ReplayQuery, Query()]
) -> PageOf[Replay]:
    """List replays with their progress, newest first."""
    page = await find_replays(services_of(request).resources.database, asked.filter(), asked.limit, asked.cursor)
    return PageOf[Replay].model_validate(page)


@router.get("/replays/{replay_id}", responses=problems(404))
async def show_replay(request: Request, replay_id: UUID, _caller: SyncsReader) -> ReplayDetail:
    """Show a replay and how far it is."""
    return ReplayDetail.model_validate(await find_replay(services_of(request).resources.database, replay_id))


@router.post("/replays/{replay_id}/stop", responses=problems(404))
async def stop_replay(request: Request, replay_id: UUID, caller: SyncsReplayer) -> ReplayDetail:
    """Send no more of its Items; what is under way ends. One that is stopped or finished stays as it is."""
    found = await stop(services_of(request).resources.database, replay_id, actor_of(caller))
    return ReplayDetail.model_validate(found)


@router.post("/replays/{replay_id}/resume", responses=problems(404))
async def resume_replay(request: Request, replay_id: UUID, caller: SyncsReplayer) -> ReplayDetail:
    """Go on where it was stopped. One that runs or is finished stays as it is."""
    found = await resume(services_of(request).resources, replay_id, actor_of(caller))
    return ReplayDetail.model_validate(found)
