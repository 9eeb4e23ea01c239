"""Replays: looked at dry first, begun, watched, stopped and resumed."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request, Response
from pydantic import ValidationError

from core.access.scopes import Scope
from core.sync.replay import create_replay, find_replay, list_replays, preview, resume, stop
from web.auth import actor_of
from web.console.access import ReplaySent, ReplayVisitor, SyncsVisitor
from web.console.asked import ReplayAsked, ReplayOrder
from web.console.page_route import PageRoute
from web.console.rendering import render
from web.services import services_of

router = APIRouter(prefix="/console/replays", route_class=PageRoute)


@router.get("")
async def show_replays(request: Request, session: SyncsVisitor) -> Response:
    """List the replays, newest first."""
    replays = await list_replays(services_of(request).resources.database)
    return render(request, "replays.html", {"replays": replays}, session=session)


@router.get("/new")
async def dry_run(request: Request, session: ReplayVisitor, asked: Annotated[ReplayAsked, Query()]) -> Response:
    """Show which Items a replay would take; nothing is changed."""
    order = asked.order()
    found = await preview(services_of(request).resources.database, order.selection())
    days = services_of(request).resources.settings.page_journal_days
    facts = {"asked": asked.shown(), "order": order.model_dump(mode="json"), "rows": found, "journal_days": days}
    return render(request, "replay_new.html", facts | {"items": sum(row["items"] for row in found)}, session=session)


@router.post("")
async def begin(request: Request, sent: ReplaySent) -> Response:
    """Begin a replay, or lead to the one that is open for the same selection."""
    session, fields = sent
    try:
        order = ReplayOrder.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise HTTPException(422, f"{first['loc'][-1]}: {first['msg']}.") from None
    actor = actor_of(session.principal)
    replay = await create_replay(services_of(request).resources, order.selection(), actor, order.rate)
    return _to(replay["id"], "replay")


@router.get("/{replay_id}")
async def show_replay(request: Request, replay_id: UUID, session: SyncsVisitor) -> Response:
    """Show a replay and how far it is."""
    replay = await find_replay(services_of(request).resources.database, replay_id)
    facts = {"replay": _with_progress(replay), "may_turn": Scope.SYNCS_REPLAY in session.scopes}
    return render(request, "replay.html", facts, session=session)


@router.post("/{replay_id}/stop")
async def stop_replay(request: Request, replay_id: UUID, sent: ReplaySent) -> Response:
    """Send no more of its Items."""
    session, _ = sent
    await stop(services_of(request).resources.database, replay_id, actor_of(session.principal))
    return _to(replay_id, "stopped")


@router.post("/{replay_id}/resume")
async def resume_replay(request: Request, replay_id: UUID, sent: ReplaySent) -> Response:
    """Go on where it was stopped."""
    session, _ = sent
    await resume(services_of(request).resources, replay_id, actor_of(session.principal))
    return _to(replay_id, "resumed")


def _with_progress(replay: dict[str, Any]) -> dict[str, Any]:
    return {**replay, "ended": replay["succeeded"] + replay["failed"]}


def _to(replay_id: UUID, done: str) -> Response:
    return Response(status_code=303, headers={"Location": f"/console/replays/{replay_id}?done={done}"})
