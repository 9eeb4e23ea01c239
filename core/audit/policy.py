"""How this process records: whether at all, how strictly, and where to when the caller has no transaction."""

from dataclasses import dataclass

import structlog

from core.database import Database
from core.settings import Settings

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AuditPolicy:
    """A process's rules for recording; replaced as a whole, never changed in place.

    Attributes:
        enabled: False writes nothing. Then nothing is recorded before a token is decrypted either.
        strict: an unknown context field is refused; otherwise it is dropped, logged and counted.
        database: where an event goes that no transaction of the caller's carries.
    """

    enabled: bool = True
    strict: bool = True
    database: Database | None = None


_installed: list[AuditPolicy] = []


def install_policy(settings: Settings, database: Database) -> None:
    """Make the settings' rules those of this process, and say loudly when they switch recording off."""
    policy = AuditPolicy(settings.audit_logging_enabled, not settings.is_production, database)
    if not policy.enabled:
        log.warning("audit_logging_disabled", consequence="nothing is recorded, token decrypts neither")
    _installed[:] = [policy]


def uninstall_policy() -> None:
    """Return to the rules of a process that installed none: recording, strict, no database of its own."""
    _installed.clear()


def current_policy() -> AuditPolicy:
    """Return this process's rules."""
    return _installed[0] if _installed else AuditPolicy()
