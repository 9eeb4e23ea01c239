"""`POST /webhooks/plaid`: verify, remember once, enqueue, answer."""

import asyncio

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import Receive, Scope, Send

from core.audit import AuditEventType
from core.errors import SyncError, WebhookRejectedError
from core.plaid.webhook_verification import verify_webhook
from core.telemetry import tracing
from core.telemetry.spans import Kind
from web.problems import problem
from web.services import services_of


class PlainRoute(APIRoute):
    """Described like every route, and handled without FastAPI's own steps, which are a third of a webhook's cost."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request to the endpoint, and its answer to the sender."""
        if scope["method"] != "POST":
            await super().handle(scope, receive, send)
            return
        answer: Response = await self.endpoint(Request(scope, receive))
        await answer(scope, receive, send)


router = APIRouter(tags=["webhooks"], route_class=PlainRoute)
log = structlog.get_logger()

RETRY = {"Retry-After": "30"}
# Plaid gives up after ten seconds, and then comes again.
ANSWER_SECONDS = 9.0


@router.post(
    "/webhooks/plaid",
    status_code=200,
    response_class=Response,
    responses={401: {"description": "It is not verifiably Plaid's."}, 503: {"description": "It is not durable."}},
)
async def plaid_webhook(request: Request) -> Response:
    """Take a webhook of Plaid's: 200 once it is durable, 401 if it is not Plaid's, 503 to have it sent again."""
    # A trace of its own: nobody outside decides whose trace ours belongs to.
    with tracing.span("POST /webhooks/plaid", Kind.SERVER, http_method="POST", http_route="/webhooks/plaid"):
        response = await _receive(request)
        tracing.note(http_status=response.status_code)
    return response


async def _receive(request: Request) -> Response:
    services = services_of(request)
    body = await request.body()
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            proof = await verify_webhook(body, _signature(request), services.webhook_keys)
            await services.inbox.receive(body, proof)
    except WebhookRejectedError as error:
        # Why is for our log: whoever forges learns nothing from the answer.
        request.state.refusal, request.state.refusal_event = str(error), AuditEventType.WEBHOOK_REJECTED
        return problem(401, "not-verified", "the webhook is not verifiably Plaid's")
    except (SyncError, SQLAlchemyError, RedisError, OSError) as error:
        log.warning("webhook_not_durable", error=type(error).__name__)
        return problem(503, "not-durable", "the webhook could not be kept; send it again", RETRY)
    return Response(status_code=200)


def _signature(request: Request) -> str | None:
    given = request.headers.getlist("plaid-verification")
    # Two of them are nobody's honest mistake.
    return given[0] if len(given) == 1 else None
