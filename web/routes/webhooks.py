"""`POST /webhooks/plaid`: verify, remember once, enqueue, answer."""

import structlog
from fastapi import APIRouter, Request, Response
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.errors import SyncError, WebhookRejectedError
from core.plaid.webhook_verification import verify_webhook
from core.resources import Resources
from core.webhooks.inbox import receive_webhook

router = APIRouter()
log = structlog.get_logger()

MAX_BODY_BYTES = 64 * 1024


@router.post("/webhooks/plaid", status_code=200, response_class=Response)
async def plaid_webhook(request: Request) -> Response:
    """Take a webhook of Plaid's: 200 once it is durable, 401 if it is not Plaid's, 503 to have it sent again."""
    resources: Resources = request.app.state.resources
    body = await _read(request)
    if body is None:
        return Response(status_code=413)
    try:
        proof = await verify_webhook(body, request.headers.get("plaid-verification"), request.app.state.webhook_keys)
        await receive_webhook(resources, body, proof)
    except WebhookRejectedError as error:
        # Why is for our log: whoever forges learns nothing from the answer.
        await _record_rejection(resources, str(error))
        return Response(status_code=401)
    except (SyncError, SQLAlchemyError, RedisError, OSError) as error:
        log.warning("webhook_not_durable", error=type(error).__name__)
        return Response(status_code=503, headers={"Retry-After": "30"})
    return Response(status_code=200)


async def _read(request: Request) -> bytes | None:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


async def _record_rejection(resources: Resources, reason: str) -> None:
    log.warning("webhook_rejected", reason=reason)
    try:
        async with resources.database.transaction() as session:
            context = AuditContext(reason=reason)
            await log_audit_event(
                AuditEventType.WEBHOOK_REJECTED, "A webhook was refused", session=session, context=context
            )
    except (SQLAlchemyError, OSError) as error:
        log.warning("audit_not_written", error=type(error).__name__)
