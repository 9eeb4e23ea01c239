"""The checks of `python -m scripts.validate_security`: one small function each, one file an area."""

from scripts.validation import (
    audit,
    celery_settings,
    database,
    dependencies,
    encryption,
    files,
    logs,
    plaid,
    process,
    redis_server,
    secret_values,
    settings,
    web,
)
from scripts.validation.check import CHECKS, Check, Finding, Severity, Status, judge

__all__ = [
    "CHECKS",
    "Check",
    "Finding",
    "Severity",
    "Status",
    "audit",
    "celery_settings",
    "database",
    "dependencies",
    "encryption",
    "files",
    "judge",
    "logs",
    "plaid",
    "process",
    "redis_server",
    "secret_values",
    "settings",
    "web",
]
