"""The web application, asked in this process: headers on every answer, nothing told to strangers."""

from collections.abc import Mapping

from scripts.validation.check import Severity, check
from scripts.validation.inspection import Inspection, WebFacts

MEND = "Set SECURITY_HEADERS_ENABLED=true; web/middleware/security_headers sets it"
TELLING = ("server", "x-powered-by", "x-aspnet-version", "via")


def _facts(inspection: Inspection) -> WebFacts:
    assert inspection.web is not None  # noqa: S101 - `needs` has seen to it
    return inspection.web


def _answers(inspection: Inspection) -> tuple[Mapping[str, str], Mapping[str, str]]:
    return _facts(inspection).live_headers, _facts(inspection).missing_headers


def _header(name: str, wanted: str, severity: Severity) -> None:
    @check(f"web.{name.replace('-', '_')}", severity, MEND, needs="web")
    def header(inspection: Inspection) -> str | None:
        for headers in _answers(inspection):
            if wanted not in (value := headers.get(name, "")).lower():
                return f"{name} is {value or 'missing'}"
        return None


_header("x-content-type-options", "nosniff", Severity.HIGH)
_header("content-security-policy", "frame-ancestors", Severity.HIGH)
_header("x-frame-options", "deny", Severity.LOW)
_header("referrer-policy", "no-referrer", Severity.MEDIUM)
_header("cache-control", "no-store", Severity.MEDIUM)


@check("web.csp_without_unsafe", Severity.HIGH, MEND, needs="web")
def csp_without_unsafe(inspection: Inspection) -> str | None:
    """No inline script is run."""
    policy = _facts(inspection).live_headers.get("content-security-policy", "")
    return "content-security-policy allows unsafe sources" if "unsafe-" in policy or "*" in policy.split() else None


@check("web.hsts", Severity.HIGH, "Set REQUIRE_HTTPS=true", needs="web", production=True)
def hsts(inspection: Inspection) -> str | None:
    """A browser that was here once comes back by HTTPS."""
    value = _facts(inspection).live_headers.get("strict-transport-security", "")
    return None if "max-age=" in value and "max-age=0" not in value else "strict-transport-security is missing"


@check("web.tells_no_versions", Severity.LOW, "Remove the header in web/middleware/security_headers", needs="web")
def tells_no_versions(inspection: Inspection) -> str | None:
    """Nobody learns what runs here."""
    told = sorted({name for headers in _answers(inspection) for name in headers if name in TELLING})
    return f"headers tell about the server: {', '.join(told)}" if told else None


@check("web.alive", Severity.HIGH, "See the log of `manna web`", needs="web")
def alive(inspection: Inspection) -> str | None:
    """The application answers."""
    status = _facts(inspection).live_status
    return None if status == 200 else f"/health/live answers {status}"  # noqa: PLR2004 - HTTP's OK


@check("web.errors_are_opaque", Severity.HIGH, "Leave debug off", needs="web")
def errors_are_opaque(inspection: Inspection) -> str | None:
    """An error shows no inside."""
    shown = [word for word in ("Traceback", 'File "', "sqlalchemy") if word in _facts(inspection).missing_body]
    return "an error answer shows a traceback" if shown else None


@check(
    "web.webhooks_verified", Severity.CRITICAL, "Keep core/plaid/webhook_verification.py as it is shipped", needs="web"
)
def webhooks_verified(inspection: Inspection) -> str | None:
    """A webhook without Plaid's signature is refused."""
    return None if _facts(inspection).unsigned_webhook_refused else "a webhook without a signature is accepted"
