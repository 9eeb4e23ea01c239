"""What a check is: a name, a severity, a way to mend it, and a function that returns what is wrong, or None."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from scripts.validation.inspection import Inspection


class Severity(StrEnum):
    """How bad it is when a check fails; `high` and `critical` end the script with 1."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Status(StrEnum):
    """What came of a check."""

    PASSED = "passed"
    FAILED = "failed"
    LEFT_OUT = "left out"


Problem = Callable[[Inspection], str | None]


@dataclass(frozen=True, slots=True)
class Check:
    """One check. `needs` names the part of the inspection without which it cannot be made."""

    name: str
    severity: Severity
    mend: str
    problem: Problem
    needs: str | None
    production: bool

    @property
    def area(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; `detail` says what is wrong, or why it was left out."""

    check: Check
    status: Status
    detail: str = ""

    @property
    def ends_badly(self) -> bool:
        """Whether the script has to end with 1."""
        return self.status is Status.FAILED and self.check.severity in {Severity.HIGH, Severity.CRITICAL}

    def as_row(self) -> dict[str, Any]:
        """Return the finding as a program wants it."""
        return {
            "name": self.check.name,
            "area": self.check.area,
            "severity": self.check.severity.value,
            "status": self.status.value,
            "found": self.detail or None,
            "mend": self.check.mend if self.status is Status.FAILED else None,
        }


CHECKS: dict[str, Check] = {}


def check(
    name: str, severity: Severity, mend: str, *, needs: str | None = None, production: bool = False
) -> Callable[[Problem], Problem]:
    """Register a function as a check.

    Args:
        name: `area.what_has_to_hold`.
        severity: how bad a failure is.
        mend: what to do about it, in one line.
        needs: the attribute of the inspection without which nothing can be said.
        production: only production has to hold it.
    """

    def register(problem: Problem) -> Problem:
        CHECKS[name] = Check(name, severity, mend, problem, needs, production)
        return problem

    return register


def judge(inspection: Inspection) -> Iterator[Finding]:
    """Yield the finding of every check, in the order in which they were registered."""
    for each in CHECKS.values():
        if each.production and not inspection.is_production:
            yield Finding(each, Status.LEFT_OUT, "holds for production only")
        elif each.needs and getattr(inspection, each.needs) is None:
            reason = inspection.absent.get(each.needs, "could not be looked at")
            yield Finding(each, Status.LEFT_OUT, reason)
        else:
            problem = each.problem(inspection)
            yield Finding(each, Status.FAILED if problem else Status.PASSED, problem or "")
