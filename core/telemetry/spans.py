"""What a span is to us: its kinds, its facts, and what whoever makes spans must do. It knows no OpenTelemetry."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Protocol

# The name of W3C Trace Context's header, which a message carries too.
TRACEPARENT = "traceparent"

Fact = str | int | float | bool | None


class Kind(StrEnum):
    """Which side of which call a span is."""

    INTERNAL = "INTERNAL"
    SERVER = "SERVER"
    CLIENT = "CLIENT"
    PRODUCER = "PRODUCER"
    CONSUMER = "CONSUMER"


class Spans(Protocol):
    """What makes spans; `core.telemetry.opentelemetry_spans` is the one."""

    def span(
        self, name: str, kind: Kind, parent: str | None, links: Sequence[str], facts: Mapping[str, Fact]
    ) -> AbstractContextManager[None]:
        """Return a span to be entered."""

    def note(self, facts: Mapping[str, Fact], error: str | None) -> None:
        """Add to the current span."""

    def link(self, traces: Sequence[str]) -> None:
        """Link the current span to others."""

    def current(self) -> str | None:
        """Return the current span's `traceparent`."""

    def ids(self) -> Mapping[str, str]:
        """Return the ids by which a log line is found from its trace."""

    def close(self) -> None:
        """Send what waits."""
