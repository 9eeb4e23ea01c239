"""How a sync ended, for whoever asked for it."""

from dataclasses import dataclass

from core.errors import SyncError, Verdict, VersionConflictError
from core.models import RunStatus


@dataclass(frozen=True, slots=True)
class Work:
    """What a committed sync was: pages asked for, Plaid's changes, and how often its pages were begun anew."""

    pages: int = 0
    added: int = 0
    modified: int = 0
    removed: int = 0
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A sync's end. `error_code` tells why it failed or was skipped, `verdict` what follows from a failure.

    `work` is what was committed; None when nothing was.
    """

    status: RunStatus
    error_code: str | None = None
    verdict: Verdict | None = None
    work: Work | None = None

    @classmethod
    def skipped(cls, reason: str) -> "Outcome":
        """Nothing was done, and nothing had to be."""
        return cls(RunStatus.SKIPPED, reason)

    @classmethod
    def of(cls, error: SyncError) -> "Outcome":
        """Return what an error comes to: losing to a rival is no failure, the rival's commit stands."""
        if isinstance(error, VersionConflictError):
            return cls.skipped(error.error_code)
        return cls(RunStatus.FAILED, error.error_code, error.verdict)

    @classmethod
    def committed(cls, work: Work) -> "Outcome":
        """All of it is stored, and the cursor moved."""
        return cls(RunStatus.SUCCEEDED, work=work)
