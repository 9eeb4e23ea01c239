"""Records every 401, 403 and 429 before it is answered; many at once share a transaction."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.audit import AuditContext, AuditEventType
from core.audit.outbox import Event, log_audit_events
from core.batching import Batched
from core.database import Database

log = structlog.get_logger()

EVENTS = {
    401: AuditEventType.API_TOKEN_REJECTED,
    403: AuditEventType.ACCESS_DENIED,
    429: AuditEventType.RATE_LIMITED,
}
BATCH = 100
# A flood must not fill the memory, nor a database that is away hold the answers up.
MAX_WAITING = 5000
WAIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """What was refused, to whom."""

    event_type: AuditEventType
    actor: str
    route: str
    context: AuditContext


class RefusalLog:
    """Writes refusals in batches: whoever comes while one is written shares the next."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting = 0
        self._write = Batched(self._write_many, largest=BATCH)

    async def record(self, refusal: Refusal) -> None:
        """Return once the refusal is durable, or after a second; then it is in our log as not recorded."""
        if self._waiting >= MAX_WAITING:
            log.warning("refusal_not_recorded", reason="too_many_waiting", route=refusal.route)
            return
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._write(refusal)
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            log.warning("refusal_not_recorded", reason=type(error).__name__, route=refusal.route)
        finally:
            self._waiting -= 1

    async def _write_many(self, refusals: Sequence[Refusal]) -> list[None]:
        events = [
            Event(one.event_type, "A request was refused", one.context, one.actor, f"route:{one.route}")
            for one in refusals
        ]
        async with self._database.connection() as connection:
            await log_audit_events(connection, events)
        return [None] * len(refusals)


class AuditRefusals:
    """Watches the answers go by, and records those that refuse."""

    def __init__(self, app: ASGIApp, refusals: Callable[[], RefusalLog]) -> None:
        self._app = app
        self._refusals = refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def recorded(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in EVENTS:
                await self._refusals().record(_refusal(scope, message["status"]))
            await send(message)

        await self._app(scope, receive, recorded)


def _refusal(scope: Scope, status: int) -> Refusal:
    state = scope["state"]
    principal = state.get("principal")
    address = scope["client"][0] if scope.get("client") else "unknown"
    # The route's own template where one was reached: the path is the caller's text.
    route = getattr(scope.get("route"), "path", None) or state.get("limit") or "unmatched"
    context = AuditContext(
        request_id=state.get("request_id"),
        ip_address=address,
        method=scope["method"],
        route=route,
        status=status,
        reason=state.get("refusal"),
        limit=state.get("limit"),
        token_id=principal.token_id if principal else None,
    )
    actor = f"token:{principal.subject}" if principal else f"ip:{address}"
    return Refusal(state.get("refusal_event", EVENTS[status]), actor, route, context)
