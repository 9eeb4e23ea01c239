"""Writes docs/reference/audit-events.md from the vocabulary itself. Run as `python -m scripts.audit_reference`."""

from collections.abc import Iterator
from pathlib import Path

from core.audit.context import AuditContext
from core.audit.events import AuditCategory, AuditEventType
from core.audit.ocsf import DEFAULTS, MAPPING

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "audit-events.md"
TITLES = {
    AuditCategory.AUTHENTICATION: "Authentication",
    AuditCategory.AUTHORIZATION: "Authorization",
    AuditCategory.DATA_ACCESS: "Data access",
    AuditCategory.SECURITY: "Security",
    AuditCategory.CONFIGURATION: "Configuration",
    AuditCategory.PLAID: "Plaid",
}
HEAD = """# Audit events

Written by `python -m scripts.audit_reference`; a test holds it to the code.

An event has a number in the chain (`seq`), an id, a type, the instant when it happened and the one when it was sealed,
an `actor` (`kind:name`), a `resource` (`kind:id`), a constant message and a context. Types are
`source:subject:action`; they are added, never renamed. The OCSF column is the class and activity of
`manna audit export --format ocsf` (OCSF 1.3).
"""
CONTEXT = """
## Context

The only fields that a context may have. An unknown one is refused in development and tests; production drops it, logs
its name and counts it. Texts are cut after 500 characters, secrets in them masked.
"""


def page() -> str:
    """Return the page's text."""
    return "\n".join([HEAD, *_events(), CONTEXT, *_context(), ""])


def _events() -> Iterator[str]:
    for category, title in TITLES.items():
        yield f"## {title}\n\n| type | meaning | OCSF |\n|---|---|---|"
        for kind in AuditEventType:
            if kind.category is category:
                class_uid, activity = MAPPING.get(kind) or DEFAULTS[category]
                yield f"| `{kind.value}` | {kind.meaning} | {class_uid}/{activity} |"
        yield ""


def _context() -> Iterator[str]:
    kinds = {"str | None": "text", "int | None": "integer", "bool | None": "yes or no"}
    yield "| field | type |\n|---|---|"
    for name, kind in sorted(AuditContext.__annotations__.items()):
        yield f"| `{name}` | {kinds[str(kind)]} |"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
