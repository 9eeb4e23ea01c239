"""Health: for orchestrators, for people, and for whoever shows a token in detail."""

from typing import Any

from fastapi import APIRouter, Request, Response

from web.probes import Finding
from web.services import services_of

router = APIRouter(tags=["health"])

# Without these nothing can be done; without the others the service is slower, or tells less.
VITAL = ("database", "encryption")
NEEDED = (*VITAL, "redis")


@router.get("/health/live")
async def live() -> dict[str, str]:
    """Tell that the process answers; nothing else is looked at."""
    return {"status": "alive"}


@router.get("/health/ready", responses={503: {"description": "A part that is needed is away."}})
async def ready(request: Request, response: Response) -> dict[str, Any]:
    """Tell whether requests can be taken: 503 while database, Redis or encryption is away."""
    found = await services_of(request).probes.find(*NEEDED)
    is_ready = all(finding.is_ok for finding in found.values())
    response.status_code = 200 if is_ready else 503
    return {"status": "ready" if is_ready else "not ready"}


@router.get("/health")
async def health(request: Request) -> dict[str, Any]:
    """Tell the service's health and which of its guards are on; with any valid token in detail."""
    services = services_of(request)
    settings = services.resources.settings
    found = await services.probes.find()
    guards = {
        "encryption_enabled": settings.field_encryption_enabled and found["encryption"].is_ok,
        "security_headers": settings.security_headers_enabled,
        "rate_limiting": settings.rate_limiting_enabled,
        "audit_logging": settings.audit_logging_enabled,
    }
    parts: dict[str, Any] = {name: finding.state for name, finding in found.items()}
    if request.state.principal is not None:
        parts = {name: {"state": finding.state, **finding.details} for name, finding in found.items()}
    return {"status": _status(found), "security": guards, "parts": parts}


def _status(found: dict[str, Finding]) -> str:
    if not all(found[name].is_ok for name in VITAL):
        return "unhealthy"
    return "healthy" if all(finding.is_ok for finding in found.values()) else "degraded"
