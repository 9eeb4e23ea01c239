"""The rule file: TOML, one `[[rule]]` each, checked as a whole before any rule counts."""

from collections.abc import Iterator
from enum import StrEnum
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import msgspec

from core.audit.context import FIELDS
from core.audit.events import AuditCategory, AuditEventType
from core.errors import ConfigurationError

SHIPPED = "default_rules.toml"
OWN_FIELDS = ("actor", "resource", "event_type")


class Severity(StrEnum):
    """How much an alert matters; OCSF's words."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """Met when `threshold` matching events happen within `window_seconds`, counted for each value of `group_by`."""

    name: Annotated[str, msgspec.Meta(pattern="^[a-z0-9-]{1,60}$")]
    severity: Severity
    threshold: Annotated[int, msgspec.Meta(ge=1)]
    window_seconds: Annotated[int, msgspec.Meta(ge=1, le=86_400)]
    events: tuple[AuditEventType, ...] = ()
    categories: tuple[AuditCategory, ...] = ()
    group_by: str | None = None

    @cached_property
    def types(self) -> frozenset[str]:
        """The event types that it counts; never an alert, which would raise the next one."""
        of_categories = {event.value for event in AuditEventType if event.category in self.categories}
        return frozenset({event.value for event in self.events} | of_categories) - {AuditEventType.ALERT_RAISED.value}


class RuleFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    rule: tuple[Rule, ...]


def load_rules(file: Path | None) -> tuple[Rule, ...]:
    """Return the rules of `file`, or those that come with Manna Sync.

    Raises:
        ConfigurationError: the file cannot be read, or a rule is wrong; one line says which and what is accepted.
    """
    try:
        text = file.read_bytes() if file else files(__package__).joinpath(SHIPPED).read_bytes()
        rules = msgspec.toml.decode(text, type=RuleFile).rule
    except OSError as error:
        raise ConfigurationError(f"AUDIT_ALERT_RULES cannot be read: {type(error).__name__}") from None
    except msgspec.MsgspecError as error:
        raise ConfigurationError(f"AUDIT_ALERT_RULES: {error}") from None
    for problem in _problems(rules):
        raise ConfigurationError(f"AUDIT_ALERT_RULES: {problem}")
    return rules


def _problems(rules: tuple[Rule, ...]) -> Iterator[str]:
    names = [rule.name for rule in rules]
    for rule in rules:
        if names.count(rule.name) > 1:
            yield f"two rules are called {rule.name}"
        if not rule.types:
            yield f"rule {rule.name} counts nothing; accepted are events and categories"
        if rule.group_by is not None and rule.group_by not in {*OWN_FIELDS, *FIELDS}:
            accepted = ", ".join(OWN_FIELDS)
            yield f"rule {rule.name} groups by {rule.group_by!r}; accepted are {accepted} and the fields of the context"
