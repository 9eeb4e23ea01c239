"""Redis: encrypted, closed to strangers, and never forgetting a message to make room."""

from core.errors import ConfigurationError
from core.redis_connection import check_redis_tls
from scripts.validation.check import Severity, check
from scripts.validation.inspection import Inspection, RedisFacts

OLDEST = (6, 2)
PERMISSION = "not permitted"


def _facts(inspection: Inspection) -> RedisFacts:
    assert inspection.redis is not None  # noqa: S101 - `needs` has seen to it
    return inspection.redis


def _parameter(inspection: Inspection, name: str) -> str | None:
    # A hosted Redis does not tell; what is not known is not called wrong.
    return _facts(inspection).parameters.get(name)


@check("redis.reachable", Severity.HIGH, "Start Redis, or correct REDIS_URL")
def reachable(inspection: Inspection) -> str | None:
    """Redis answers."""
    return None if inspection.redis else inspection.absent.get("redis", "Redis was not asked")


@check("redis.tls", Severity.HIGH, "Use rediss:// in REDIS_URL", needs="settings", production=True)
def tls(inspection: Inspection) -> str | None:
    """Nothing goes over the network in the clear, and the certificate is looked at."""
    try:
        check_redis_tls(inspection.given.model_copy(update={"accept_risk": ()}))
    except ConfigurationError as error:
        return str(error).partition(";")[0]
    return None


@check("redis.password", Severity.HIGH, "Set requirepass, or ACL users", needs="redis")
def password(inspection: Inspection) -> str | None:
    """Strangers are not let in."""
    return "Redis answers without a password" if _facts(inspection).open_without_password else None


@check("redis.own_user", Severity.LOW, "Make an ACL user and name it in REDIS_URL", needs="redis", production=True)
def own_user(inspection: Inspection) -> str | None:
    """The service is told apart from whoever else logs in."""
    return "the log-in is the default user's" if _facts(inspection).user == "default" else None


@check(
    "redis.no_eviction", Severity.HIGH, "Set maxmemory-policy noeviction: a queue must not be evicted", needs="redis"
)
def no_eviction(inspection: Inspection) -> str | None:
    """A full memory refuses, it does not forget messages and leases."""
    policy = _parameter(inspection, "maxmemory-policy")
    return None if policy in {"noeviction", None} else f"maxmemory-policy is {policy}"


@check("redis.durable", Severity.MEDIUM, "Set appendonly yes", needs="redis", production=True)
def durable(inspection: Inspection) -> str | None:
    """A restart keeps the queue; without it the due query finds the work again, later."""
    return "appendonly is off" if _parameter(inspection, "appendonly") == "no" else None


@check("redis.protected_mode", Severity.MEDIUM, "Set protected-mode yes, or bind to one address", needs="redis")
def protected_mode(inspection: Inspection) -> str | None:
    """A Redis without a password does not listen to the world."""
    is_open = _parameter(inspection, "protected-mode") == "no" and _facts(inspection).open_without_password
    return "protected-mode is off and no password is set" if is_open else None


@check("redis.version_supported", Severity.MEDIUM, "Upgrade to Redis 6.2, Valkey 7.2 or newer", needs="redis")
def version_supported(inspection: Inspection) -> str | None:
    """Security fixes still come."""
    version = _facts(inspection).version
    return f"version {'.'.join(map(str, version))} is too old" if version < OLDEST else None
