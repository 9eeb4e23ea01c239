"""Settings: readable, complete, and no guard switched off."""

from core.settings import SECURITY_FLAGS
from scripts.validation.check import Severity, check
from scripts.validation.inspection import Inspection


@check(
    "settings.readable", Severity.CRITICAL, "Correct the variable that is named; docs/reference/settings.md lists all"
)
def readable(inspection: Inspection) -> str | None:
    """A process starts with these settings."""
    return inspection.settings_problem


@check("settings.environment_named", Severity.MEDIUM, "Set MANNA_ENVIRONMENT to development, test or production")
def environment_named(inspection: Inspection) -> str | None:
    """Nobody runs development by forgetting a variable."""
    return (
        None if inspection.environ.get("MANNA_ENVIRONMENT") else "MANNA_ENVIRONMENT is not set: development is assumed"
    )


@check(
    "settings.no_risk_accepted", Severity.MEDIUM, "Remove MANNA_ACCEPT_RISK and mend what it covers", needs="settings"
)
def no_risk_accepted(inspection: Inspection) -> str | None:
    """Every accepted risk shows here."""
    accepted = inspection.given.accept_risk
    return f"accepted: {', '.join(accepted)}" if accepted else None


@check("settings.no_stale_risk", Severity.LOW, "Take the name out of MANNA_ACCEPT_RISK", needs="settings")
def no_stale_risk(inspection: Inspection) -> str | None:
    """An acceptance that is not needed hides the next one that is."""
    settings = inspection.given
    stale = [name for name in settings.accept_risk if name in SECURITY_FLAGS and name not in settings.flags_off]
    return f"accepted, though it is on: {', '.join(stale)}" if stale else None


def _flag(name: str, severity: Severity, *, production: bool = False) -> None:
    @check(f"settings.{name.lower()}", severity, f"Set {name}=true", needs="settings", production=production)
    def flag(inspection: Inspection) -> str | None:
        return None if getattr(inspection.given, name.lower()) else f"{name} is off"


_flag("FIELD_ENCRYPTION_ENABLED", Severity.CRITICAL)
_flag("AUDIT_LOGGING_ENABLED", Severity.CRITICAL)
_flag("SECURITY_HEADERS_ENABLED", Severity.HIGH)
_flag("RATE_LIMITING_ENABLED", Severity.HIGH)
_flag("REQUIRE_HTTPS", Severity.HIGH, production=True)
_flag("SECURE_COOKIES", Severity.HIGH, production=True)


@check("settings.connect_timeout", Severity.LOW, "Set CONNECT_TIMEOUT_SECONDS to 30 or less", needs="settings")
def connect_timeout(inspection: Inspection) -> str | None:
    """A server that is away is told from one that is slow, soon."""
    seconds = inspection.given.connect_timeout_seconds
    return f"CONNECT_TIMEOUT_SECONDS is {seconds:g}" if seconds > 30 else None  # noqa: PLR2004 - the mend names it


@check("settings.lock_outlives_plaid", Severity.MEDIUM, "Set SYNC_LOCK_TTL_SECONDS to 10 or more", needs="settings")
def lock_outlives_plaid(inspection: Inspection) -> str | None:
    """A lease that ends between two renewals fetches the same pages twice."""
    seconds = inspection.given.sync_lock_ttl_seconds
    return f"SYNC_LOCK_TTL_SECONDS is {seconds:g}" if seconds < 10 else None  # noqa: PLR2004 - the mend names it
