"""Tells the outside about alerts: a log line, a count and a signed webhook. Bounded, and no error of it goes on."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Sequence

import httpx
import msgspec
import structlog

from core.audit.alerts.evaluation import Alert
from core.audit.counting import ALERTS, ALERTS_UNDELIVERED, count
from core.errors import ConfigurationError
from core.secrets import get_secret
from core.secrets.names import SecretName
from core.settings import Settings

ALERTS_A_MESSAGE = 100
TIMEOUT_SECONDS = 5.0
ATTEMPTS = 2
SIGNATURE = "X-Manna-Signature"

log = structlog.get_logger()


async def deliver(settings: Settings, alerts: Sequence[Alert]) -> None:
    """Deliver alerts by every way that is configured; what fails is logged and counted, the record stands anyway."""
    for alert in alerts:
        log.warning("audit_alert", **msgspec.to_builtins(alert))
        count(ALERTS, rule=alert.rule, severity=alert.severity.value)
    if not alerts or settings.audit_alert_webhook_url is None:
        return
    # One message, however many they are: a flood of alerts must not become a flood of requests.
    body = msgspec.json.encode({"alerts": alerts[:ALERTS_A_MESSAGE], "omitted": max(0, len(alerts) - ALERTS_A_MESSAGE)})
    try:
        await _post(settings.audit_alert_webhook_url, body)
    except (httpx.HTTPError, TimeoutError, ConfigurationError) as error:
        # The class alone: an address may carry a key.
        log.warning("audit_alert_undelivered", alerts=len(alerts), error=type(error).__name__)
        count(ALERTS_UNDELIVERED, len(alerts))


def sign(secret: str, body: bytes, at: int) -> str:
    """Return the signature header: `t=SECONDS,v1=` and the HMAC-SHA-256 in hex of `SECONDS.body`."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


async def _post(url: str, body: bytes) -> None:
    secret = get_secret(SecretName.AUDIT_ALERT_WEBHOOK_SECRET) or ""
    headers = {"Content-Type": "application/json", SIGNATURE: sign(secret, body, int(time.time()))}
    # No redirects: alerts go to the address that was configured, and to no other.
    transport = httpx.AsyncHTTPTransport(retries=ATTEMPTS - 1)
    async with asyncio.timeout(TIMEOUT_SECONDS), httpx.AsyncClient(transport=transport, trust_env=False) as client:
        answer = await client.post(url, content=body, headers=headers)
        answer.raise_for_status()
