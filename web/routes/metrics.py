"""`GET /metrics`: this process's counts and the fleet's state, for Prometheus."""

from collections.abc import Iterable

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from core.telemetry.metrics import exposed, install_metrics
from web.services import services_of

router = APIRouter()


class _Read(Collector):
    """Families that were read already."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Return the metrics. They hold no secrets and no ids of Items, but a fleet's figures: keep them inside."""
    fleet = CollectorRegistry()
    fleet.register(_Read(await services_of(request).fleet.read()))
    body = generate_latest(exposed(install_metrics())) + generate_latest(fleet)
    return Response(body, media_type=CONTENT_TYPE_LATEST)
