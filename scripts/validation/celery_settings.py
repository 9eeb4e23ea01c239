"""Celery: nothing lost with a worker, nothing executed that is not ours."""

from collections.abc import Mapping
from typing import Any

from scripts.validation.check import Severity, check
from scripts.validation.inspection import Inspection

MEND = "Correct core/broker/transport.py"


def _celery(inspection: Inspection) -> Mapping[str, Any]:
    assert inspection.celery is not None  # noqa: S101 - `needs` has seen to it
    return inspection.celery


def _has_to_be(name: str, expected: object, severity: Severity) -> None:
    @check(f"celery.{name}", severity, MEND, needs="celery")
    def setting(inspection: Inspection) -> str | None:
        value = _celery(inspection).get(name)
        return None if value == expected else f"{name} is {value!r}, not {expected!r}"


_has_to_be("task_acks_late", expected=True, severity=Severity.HIGH)
_has_to_be("task_reject_on_worker_lost", expected=True, severity=Severity.HIGH)
_has_to_be("task_serializer", "json", Severity.CRITICAL)
# pickle would run what a message says.
_has_to_be("accept_content", ["json"], Severity.CRITICAL)
_has_to_be("task_create_missing_queues", expected=False, severity=Severity.MEDIUM)
_has_to_be("task_ignore_result", expected=True, severity=Severity.MEDIUM)
_has_to_be("worker_hijack_root_logger", expected=False, severity=Severity.MEDIUM)


@check("celery.no_result_backend", Severity.MEDIUM, "Remove result_backend: results would lie in Redis", needs="celery")
def no_result_backend(inspection: Inspection) -> str | None:
    """No result, and so no secret, is kept."""
    return "a result backend is set" if _celery(inspection).get("result_backend") else None


@check("celery.visibility_timeout", Severity.HIGH, MEND, needs="celery")
def visibility_timeout(inspection: Inspection) -> str | None:
    """A task that still runs is not delivered twice: its worker has time to renew; RabbitMQ knows no such time-out."""
    if str(_celery(inspection).get("broker_url", "")).startswith("amqp://"):
        return None
    options = _celery(inspection).get("broker_transport_options", {})
    # Without the interval kombu's own, ten seconds.
    seconds, interval = options.get("visibility_timeout", 0), options.get("unacked_restore_interval", 10)
    return None if seconds >= interval * 5 else f"visibility_timeout is {seconds}, and renewed every {interval} s only"


@check("celery.prefetch", Severity.MEDIUM, "Set worker_prefetch_multiplier to 1", needs="celery")
def prefetch(inspection: Inspection) -> str | None:
    """A worker does not hoard what another could do."""
    count = _celery(inspection).get("worker_prefetch_multiplier", 4)
    return None if count == 1 else f"worker_prefetch_multiplier is {count}"


@check("celery.broker_certificate", Severity.HIGH, MEND, needs="celery")
def broker_certificate(inspection: Inspection) -> str | None:
    """Kombu does not look at a certificate unless it is told to."""
    celery = _celery(inspection)
    encrypted = str(celery.get("broker_url", "")).startswith("rediss://")
    tls = celery.get("broker_use_ssl") or {}
    return "the broker's certificate is not verified" if encrypted and not tls.get("ssl_cert_reqs") else None
