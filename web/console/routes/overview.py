"""The first page: how the fleet does."""

from fastapi import APIRouter, Request, Response

from core.broker.waiting import read_waiting
from web.console import charts
from web.console.access import ItemsVisitor
from web.console.page_route import PageRoute
from web.console.rendering import render
from web.services import services_of

# A person waits longer than an orchestrator before a part is called hanging.
PATIENCE_SECONDS = 3.0

router = APIRouter(prefix="/console", route_class=PageRoute)


@router.get("")
async def show(request: Request, session: ItemsVisitor) -> Response:
    """Show freshness, throughput, failures, what is held back, and the lag of everything that can lag."""
    services = services_of(request)
    overview = await services.overview()
    parts = await services.probes.find(patience=PATIENCE_SECONDS)
    facts = {
        "overview": overview,
        "parts": parts,
        "waiting": await read_waiting(services.resources.settings, services.resources.redis),
        "freshness": charts.freshness(overview.freshness),
        "minutes": charts.minutes(overview.minutes),
    }
    return render(request, "overview.html", facts, session=session)
