"""Logs: no secret gets into a line, by its field's name or by its shape."""

from core.telemetry.redaction import MASK, redact
from scripts.validation.check import Severity, check
from scripts.validation.inspection import Inspection

MEND = "Correct core/telemetry/redaction.py"


def _masked(name: str, line: dict[str, object], hidden: str) -> None:
    @check(f"logs.{name}", Severity.HIGH, MEND)
    def masked(_inspection: Inspection) -> str | None:
        shown = str(redact(line))
        return None if MASK in shown and hidden not in shown else "it would stand in a log line"


_masked("plaid_tokens_masked", {"event": "got access-sandbox-8ab976e6-64bc-4b38-98f7-731e7a349970"}, "8ab976e6")
_masked("jwt_masked", {"event": "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"}, "c2lnbmF0dXJl")
_masked("url_passwords_masked", {"event": "connecting to postgresql://manna:hunter2-hunter2@db/manna"}, "hunter2")
_masked("secret_fields_masked", {"event": "x", "nested": {"client_secret": "0a1b2c3d4e5f"}}, "0a1b2c3d4e5f")
