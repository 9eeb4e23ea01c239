"""The run history."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request

from core.queries.runs import find_runs, read_run
from web.auth import SyncsReader
from web.schemas.listing import RunQuery, problems
from web.schemas.syncs import Run
from web.schemas.words import PageOf
from web.services import services_of

router = APIRouter(tags=["syncs"])


@router.get("/syncs", responses=problems())
async def list_syncs(request: Request, _caller: SyncsReader, asked: Annotated[RunQuery, Query()]) -> PageOf[Run]:
    """List runs, newest first."""
    page = await find_runs(services_of(request).resources.database, asked.filter(), asked.limit, asked.cursor)
    return PageOf[Run].model_validate(page)


@router.get("/syncs/{run_id}", responses=problems(404))
async def show_sync(request: Request, run_id: UUID, _caller: SyncsReader) -> Run:
    """Show one run."""
    return Run.model_validate(await read_run(services_of(request).resources.database, run_id))
