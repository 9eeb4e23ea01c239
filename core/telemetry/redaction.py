"""Keeps secrets out of log lines, by field name and by shape, as the last step before a line is rendered."""

import re
from collections.abc import Mapping
from typing import Any

MASK = "[redacted]"
SECRET_FIELDS = re.compile(
    r"token|secret|password|authorization|api_key|encryption_key|plaid_verification", re.IGNORECASE
)
SECRET_SHAPES = re.compile(
    r"(?:access|public|link)-(?:sandbox|development|production)-[0-9A-Za-z-]+"  # Plaid's tokens
    r"|sealed:v1:[0-9A-Za-z_-]+"  # envelopes: no secret, and no business in a log either
    r"|eyJ[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+\.[0-9A-Za-z_-]+"  # JSON web tokens
    r"|(?<=://)[^/@\s]*:[^/@\s]+(?=@)"  # a user and password in a URL
)


def redact_value(value: Any) -> Any:
    """Return the value with every secret shape masked, at any depth."""
    if isinstance(value, str):
        return SECRET_SHAPES.sub(MASK, value)
    if isinstance(value, Mapping):
        return redact(value)
    if isinstance(value, (list, tuple)):
        return [redact_value(part) for part in value]
    return value


def redact(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with secret names and secret shapes masked."""
    return {name: MASK if SECRET_FIELDS.search(name) else redact_value(value) for name, value in fields.items()}
