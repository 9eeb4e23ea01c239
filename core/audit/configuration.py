"""Notices that a process starts with other security-relevant settings than the one before it."""

import hashlib
from urllib.parse import parse_qsl, urlsplit

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from core.audit.context import AuditContext
from core.audit.events import AuditEventType
from core.audit.outbox import log_audit_event
from core.database import Database
from core.models import AuditEvent, AuditOutbox
from core.settings import SECURITY_FLAGS, Settings

RESOURCE = "settings:manna-sync"
LOCK = 0x6D616E6E63
# Those that all processes of a deployment share: sizes and pauses of one worker are no news.
WATCHED = (
    *(flag.lower() for flag in SECURITY_FLAGS),
    "environment",
    "accept_risk",
    "secrets_provider",
    "plaid_env",
    "plaid_host",
    "audit_public_keys",
    "audit_export_directory",
    "audit_alert_rules",
    "audit_alert_webhook_url",
    "audit_retention_days",
)
ADDRESSES = ("database_url", "redis_url", "broker_url")


async def record_settings(settings: Settings, database: Database) -> None:
    """Record which watched settings differ from those recorded last, by name; values are kept as short hashes only.

    The first start records all of them. Of processes that start at once one records.
    """
    now = _fingerprints(settings)
    async with database.transaction() as session:
        await session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        before = await _recorded(session)
        changed = [name for name, digest in now.items() if digest not in before]
        if not changed:
            return
        context = AuditContext(
            setting=",".join(changed), fingerprint=".".join(now.values()), environment=settings.environment.value
        )
        await log_audit_event(
            AuditEventType.SETTINGS_CHANGED,
            "A process started with other settings than the one before it",
            session=session,
            context=context,
            resource=RESOURCE,
        )


def _fingerprints(settings: Settings) -> dict[str, str]:
    values = {name: str(getattr(settings, name)) for name in WATCHED}
    values |= {name: _place(getattr(settings, name)) for name in ADDRESSES}
    return {name: hashlib.sha256(f"{name}={value}".encode()).hexdigest()[:8] for name, value in values.items()}


def _place(address: str) -> str:
    """Return where an address leads, of several sentinels too, without user and passwords: they rotate."""
    parts = urlsplit(address)
    query = sorted((name, value) for name, value in parse_qsl(parts.query) if "password" not in name)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}?{query}"


async def _recorded(session: AsyncSession) -> set[str]:
    """Return the hashes recorded last: from the outbox if they still wait there, else from the chain."""
    waiting = select(AuditOutbox.context).where(AuditOutbox.resource == RESOURCE).order_by(AuditOutbox.id.desc())
    sealed = select(AuditEvent.context).where(AuditEvent.resource == RESOURCE).order_by(AuditEvent.seq.desc())
    for query in (waiting, sealed):
        if (context := (await session.execute(query.limit(1))).scalar_one_or_none()) is not None:
            return set(context["fingerprint"].split("."))
    return set()
