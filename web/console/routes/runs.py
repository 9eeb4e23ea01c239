"""The run history, and what a failed run means."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from core.queries.items import read_item
from core.queries.runs import find_runs, read_run
from web.console.access import SyncsVisitor
from web.console.advice import about_run
from web.console.asked import RunsAsked
from web.console.page_route import PageRoute
from web.console.rendering import render
from web.services import services_of

router = APIRouter(prefix="/console/runs", route_class=PageRoute)

ROWS = 50


@router.get("")
async def show_runs(request: Request, session: SyncsVisitor, asked: Annotated[RunsAsked, Query()]) -> Response:
    """List the runs that fit, newest first."""
    page = await find_runs(services_of(request).resources.database, asked.filter(), ROWS, asked.cursor)
    return render(request, "runs.html", {"asked": asked.shown(), "page": page}, session=session)


@router.get("/{run_id}")
async def show_run(request: Request, run_id: UUID, session: SyncsVisitor) -> Response:
    """Show one run with all that is known of it."""
    database = services_of(request).resources.database
    run = await read_run(database, run_id)
    item = await read_item(database, run["item_id"])
    return render(request, "run.html", {"run": run, "item": item, "advice": about_run(run, item)}, session=session)
