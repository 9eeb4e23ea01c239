"""PostgreSQL: reached over verified TLS, as somebody who may do little, with time-outs that end what hangs."""

from sqlalchemy import make_url

from core.database import TIMEOUTS
from scripts.validation.check import Severity, check
from scripts.validation.inspection import DatabaseFacts, Inspection

ROLES = "Log in as manna_writer; `manna security setup-database` makes it"
OLDEST = 140_000


def _facts(inspection: Inspection) -> DatabaseFacts:
    assert inspection.database is not None  # noqa: S101 - `needs` has seen to it
    return inspection.database


@check("database.reachable", Severity.HIGH, "Start PostgreSQL, or correct DATABASE_URL")
def reachable(inspection: Inspection) -> str | None:
    """The database answers."""
    return None if inspection.database else inspection.absent.get("database", "PostgreSQL was not asked")


@check(
    "database.tls_verified",
    Severity.CRITICAL,
    "Add sslmode=verify-full to DATABASE_URL",
    needs="settings",
    production=True,
)
def tls_verified(inspection: Inspection) -> str | None:
    """The client knows which server it speaks to."""
    mode = make_url(inspection.given.database_url).query.get("sslmode", "none")
    return None if mode == "verify-full" else f"DATABASE_URL has sslmode={mode}"


@check("database.tls_in_use", Severity.CRITICAL, "Switch ssl on in postgresql.conf", needs="database", production=True)
def tls_in_use(inspection: Inspection) -> str | None:
    """The server says that this connection is encrypted."""
    return None if _facts(inspection).tls else "the connection is not encrypted"


@check("database.not_superuser", Severity.CRITICAL, ROLES, needs="database", production=True)
def not_superuser(inspection: Inspection) -> str | None:
    """A superuser can change the audit log."""
    return f"{_facts(inspection).user} is a superuser" if _facts(inspection).superuser else None


@check("database.creates_no_roles", Severity.HIGH, ROLES, needs="database", production=True)
def creates_no_roles(inspection: Inspection) -> str | None:
    """Nobody gives himself rights."""
    return f"{_facts(inspection).user} may create roles" if _facts(inspection).creates_roles else None


@check("database.obeys_row_security", Severity.MEDIUM, ROLES, needs="database", production=True)
def obeys_row_security(inspection: Inspection) -> str | None:
    """Row security, where it is used, holds for us too."""
    return f"{_facts(inspection).user} bypasses row security" if _facts(inspection).bypasses_row_security else None


@check("database.owns_nothing", Severity.HIGH, ROLES, needs="schema", production=True)
def owns_nothing(inspection: Inspection) -> str | None:
    """An owner can drop what guards its tables."""
    owned = inspection.schema.owned_tables if inspection.schema else ()
    return f"the service's role owns {len(owned)} tables, {owned[0]} among them" if owned else None


@check(
    "database.public_creates_nothing",
    Severity.MEDIUM,
    "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    needs="database",
)
def public_creates_nothing(inspection: Inspection) -> str | None:
    """Nobody slips a table or a function into the search path."""
    return "every role may create objects in schema public" if _facts(inspection).public_may_create else None


@check("database.version_supported", Severity.MEDIUM, "Upgrade PostgreSQL to 14 or newer", needs="database")
def version_supported(inspection: Inspection) -> str | None:
    """Security fixes still come."""
    version = _facts(inspection).version
    return f"PostgreSQL {version // 10_000} gets no more fixes" if version < OLDEST else None


@check(
    "database.scram", Severity.HIGH, "Set password_encryption = scram-sha-256 and set passwords anew", needs="database"
)
def scram(inspection: Inspection) -> str | None:
    """Passwords are not kept as MD5."""
    kind = _facts(inspection).parameters.get("password_encryption")
    return None if kind == "scram-sha-256" else f"password_encryption is {kind}"


@check("database.durable", Severity.HIGH, "Set fsync = on and full_page_writes = on", needs="database", production=True)
def durable(inspection: Inspection) -> str | None:
    """What was committed lives through a crash."""
    off = [name for name in ("fsync", "full_page_writes") if _facts(inspection).parameters.get(name) != "on"]
    return f"{', '.join(off)} is off" if off else None


@check("database.commits_wait", Severity.HIGH, "Set synchronous_commit = on", needs="database", production=True)
def commits_wait(inspection: Inspection) -> str | None:
    """The audit promise needs a commit that is one."""
    value = _facts(inspection).parameters.get("synchronous_commit")
    return f"synchronous_commit is {value}" if value in {"off", None} else None


def _timeout(name: str) -> None:
    mend = f"ALTER ROLE … SET {name}; `manna security setup-database` does"

    @check(f"database.{name}", Severity.MEDIUM, mend, needs="database")
    def timeout(inspection: Inspection) -> str | None:
        value = _facts(inspection).parameters.get(name, "0")
        return f"{name} is off" if value in {"0", "0ms"} else None


for parameter in TIMEOUTS:
    _timeout(parameter)


@check("database.utc", Severity.LOW, "ALTER ROLE … SET timezone = 'UTC'", needs="database")
def utc(inspection: Inspection) -> str | None:
    """Partitions begin at UTC's midnight."""
    zone = _facts(inspection).parameters.get("TimeZone")
    return None if zone in {"UTC", "Etc/UTC", "GMT"} else f"the session's time zone is {zone}"


@check("database.migrated", Severity.HIGH, "Run `alembic upgrade head`", needs="database")
def migrated(inspection: Inspection) -> str | None:
    """The tables are those of this version."""
    if inspection.schema is None:
        return "no migration has run"
    if inspection.schema.revision == inspection.schema.head:
        return None
    return f"the database is at {inspection.schema.revision}, this version needs {inspection.schema.head}"
