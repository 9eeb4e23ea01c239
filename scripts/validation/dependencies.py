"""Dependencies: exactly those that were locked, by hash, from nowhere in particular."""

from scripts.validation.check import Severity, check
from scripts.validation.inspection import Inspection, LockFacts

# Named by the original guide or by tutorials; unmaintained, or broken as measured in docs/adr.
AVOIDED = ("python-jose", "passlib", "pycrypto", "sqlalchemy-utils", "django-cryptography", "pottery", "slowapi")
LOCK = "Run `make lock` and install from locks/"


def _facts(inspection: Inspection) -> LockFacts:
    assert inspection.locks is not None  # noqa: S101 - `needs` has seen to it
    return inspection.locks


@check("dependencies.locked", Severity.MEDIUM, "Run in the project's directory, with locks/runtime.txt")
def locked(inspection: Inspection) -> str | None:
    """There is a lock to compare with."""
    return None if inspection.locks else inspection.absent.get("locks", "no lock was read")


@check("dependencies.hashed", Severity.HIGH, LOCK, needs="locks")
def hashed(inspection: Inspection) -> str | None:
    """A package that was tampered with is not installed."""
    unhashed = _facts(inspection).unhashed
    return f"without a hash: {', '.join(unhashed[:5])}" if unhashed else None


@check("dependencies.no_addresses", Severity.MEDIUM, LOCK, needs="locks")
def no_addresses(inspection: Inspection) -> str | None:
    """The lock names no host."""
    found = _facts(inspection).addresses
    return f"the lock names an address: {found[0]}" if found else None


@check("dependencies.as_locked", Severity.HIGH, "pip install --require-hashes -r locks/runtime.txt", needs="locks")
def as_locked(inspection: Inspection) -> str | None:
    """What runs is what was tested."""
    facts = _facts(inspection)
    others = [f"{name} {facts.installed[name]}" for name in facts.locked if _differs(facts, name)]
    return f"installed in another version: {', '.join(others[:5])}" if others else None


def _differs(facts: LockFacts, name: str) -> bool:
    return name in facts.installed and facts.installed[name] != facts.locked[name]


@check("dependencies.complete", Severity.HIGH, "pip install --require-hashes -r locks/runtime.txt", needs="locks")
def complete(inspection: Inspection) -> str | None:
    """Nothing fails to import at three in the morning."""
    missing = [name for name in _facts(inspection).required if name not in _facts(inspection).installed]
    return f"not installed: {', '.join(missing[:5])}" if missing else None


@check("dependencies.none_avoided", Severity.MEDIUM, "Uninstall it", needs="locks")
def none_avoided(inspection: Inspection) -> str | None:
    """No library that is known to be unmaintained or broken is there."""
    found = [name for name in AVOIDED if name in _facts(inspection).installed]
    return f"installed: {', '.join(found)}" if found else None


@check("dependencies.provider_installed", Severity.HIGH, "pip install 'manna-sync[aws]'", needs="locks")
def provider_installed(inspection: Inspection) -> str | None:
    """The secrets' provider can be loaded."""
    asked = inspection.settings is not None and "aws" in inspection.settings.secrets_provider
    return (
        "SECRETS_PROVIDER names aws, boto3 is missing"
        if asked and "boto3" not in _facts(inspection).installed
        else None
    )
