"""Events as OCSF 1.3 (Open Cybersecurity Schema Framework, schema.ocsf.io), which SIEMs read without a parser.

What OCSF has no field for stays in `unmapped`, the event's place in the chain among it.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from core.audit.chain import SealedEvent
from core.audit.events import AuditCategory, AuditEventType

VERSION = "1.3.0"
PRODUCT = {"name": "Manna Sync", "vendor_name": "Manna Sync"}
SERVICE = "manna-sync"
CATEGORY_OF = {3001: 3, 3002: 3, 3004: 3, 6003: 6, 2004: 2}
ACCOUNT_CHANGE, AUTHENTICATION, ENTITY_MANAGEMENT, API_ACTIVITY, DETECTION_FINDING = CATEGORY_OF
CREATE, READ, UPDATE, DELETE = 1, 2, 3, 4
LOGON, LOGOFF, ATTACH_POLICY, DISABLE, OTHER = 1, 2, 7, 9, 99
INFORMATIONAL, LOW, MEDIUM, HIGH, CRITICAL = range(1, 6)
SUCCESS, FAILURE = 1, 2

T = AuditEventType
# What is neither here nor in a category's default is an API activity, read or updated.
MAPPING = {
    T.LOGIN_SUCCEEDED: (AUTHENTICATION, LOGON),
    T.LOGIN_FAILED: (AUTHENTICATION, LOGON),
    T.API_TOKEN_REJECTED: (AUTHENTICATION, LOGON),
    T.LOGGED_OUT: (AUTHENTICATION, LOGOFF),
    T.API_TOKEN_ISSUED: (ENTITY_MANAGEMENT, CREATE),
    T.API_TOKEN_REVOKED: (ENTITY_MANAGEMENT, DELETE),
    T.ACCESS_DENIED: (API_ACTIVITY, OTHER),
    T.RATE_LIMITED: (API_ACTIVITY, OTHER),
    T.KEY_GENERATED: (ENTITY_MANAGEMENT, CREATE),
    T.KEY_ADDED: (ENTITY_MANAGEMENT, CREATE),
    T.KEY_DESTROYED: (ENTITY_MANAGEMENT, DELETE),
    T.DECRYPTION_FAILED: (DETECTION_FINDING, CREATE),
    T.SECURITY_VALIDATED: (ENTITY_MANAGEMENT, READ),
    T.CHAIN_VERIFIED: (ENTITY_MANAGEMENT, READ),
    T.CHAIN_BROKEN: (DETECTION_FINDING, CREATE),
    T.ALERT_RAISED: (DETECTION_FINDING, CREATE),
    T.RISK_ACCEPTED: (ENTITY_MANAGEMENT, DISABLE),
    T.ROLE_CHANGED: (ACCOUNT_CHANGE, ATTACH_POLICY),
    T.RETENTION_APPLIED: (ENTITY_MANAGEMENT, DELETE),
    T.PARTITION_RETIRED: (ENTITY_MANAGEMENT, DELETE),
    T.LINK_TOKEN_CREATED: (API_ACTIVITY, CREATE),
    T.ITEM_LINKED: (ENTITY_MANAGEMENT, CREATE),
    T.ITEM_REGISTERED: (ENTITY_MANAGEMENT, CREATE),
    T.ITEM_STATUS_CHANGED: (ENTITY_MANAGEMENT, UPDATE),
    T.ITEM_REMOVED: (ENTITY_MANAGEMENT, DELETE),
    T.ITEM_REVOKED: (ENTITY_MANAGEMENT, DISABLE),
    T.ACCESS_TOKEN_ROTATED: (ENTITY_MANAGEMENT, UPDATE),
    T.ITEM_REPAIRED: (ENTITY_MANAGEMENT, UPDATE),
    T.BREAKER_OPENED: (ENTITY_MANAGEMENT, 12),
    T.BREAKER_CLOSED: (ENTITY_MANAGEMENT, 13),
}
DEFAULTS = {
    AuditCategory.DATA_ACCESS: (API_ACTIVITY, READ),
    AuditCategory.SECURITY: (ENTITY_MANAGEMENT, UPDATE),
    AuditCategory.CONFIGURATION: (ENTITY_MANAGEMENT, UPDATE),
    AuditCategory.PLAID: (API_ACTIVITY, UPDATE),
}
FAILED = {
    T.LOGIN_FAILED,
    T.API_TOKEN_REJECTED,
    T.ACCESS_DENIED,
    T.RATE_LIMITED,
    T.DECRYPTION_FAILED,
    T.SYNC_FAILED,
    T.WEBHOOK_REJECTED,
}
SEVERITIES = {
    T.LOGIN_FAILED: LOW,
    T.API_TOKEN_REJECTED: LOW,
    T.ACCESS_DENIED: MEDIUM,
    T.RATE_LIMITED: LOW,
    T.WEBHOOK_REJECTED: LOW,
    T.SYNC_FAILED: LOW,
    T.DECRYPTION_FAILED: HIGH,
    T.RISK_ACCEPTED: HIGH,
    T.KEY_DESTROYED: MEDIUM,
    T.CHAIN_BROKEN: CRITICAL,
}
ALERT_SEVERITIES = {"low": LOW, "medium": MEDIUM, "high": HIGH, "critical": CRITICAL}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def to_ocsf(event: SealedEvent) -> dict[str, Any]:
    """Return an event as an OCSF object; its type is one of ours, times are milliseconds since 1970."""
    kind = AuditEventType(event.content.event_type)  # type: ignore[call-arg]  # mypy sees the members' __new__
    class_uid, activity = MAPPING.get(kind) or DEFAULTS[kind.category]
    context = event.content.context
    return {
        "activity_id": activity,
        "category_uid": CATEGORY_OF[class_uid],
        "class_uid": class_uid,
        "type_uid": class_uid * 100 + activity,
        **({"activity_name": kind.value} if activity == OTHER else {}),
        "time": (event.content.occurred_at - EPOCH) // MILLISECOND,
        "severity_id": ALERT_SEVERITIES.get(context.get("severity", ""), SEVERITIES.get(kind, INFORMATIONAL)),
        "status_id": FAILURE if kind in FAILED else SUCCESS,
        **({"status_code": context["error_code"]} if "error_code" in context else {}),
        **({"status_detail": context["reason"]} if "reason" in context else {}),
        "message": event.content.message,
        "metadata": _metadata(event, kind),
        **PARTS[class_uid](event, kind),
        "unmapped": {**context, "hash": event.hash.hex(), "prev_hash": event.prev_hash.hex()},
    }


def _metadata(event: SealedEvent, kind: AuditEventType) -> dict[str, Any]:
    run = event.content.context.get("run_id")
    return {
        "version": VERSION,
        "product": PRODUCT,
        "uid": str(event.content.event_id),
        "event_code": kind.value,
        "log_name": "audit",
        "sequence": event.seq,
        "logged_time": (event.sealed_at - EPOCH) // MILLISECOND,
        **({"correlation_uid": run} if run else {}),
    }


def _actor(event: SealedEvent) -> dict[str, Any]:
    name = event.content.actor
    return {"app_name": name} if name == SERVICE else {"user": {"name": name}}


def _source(event: SealedEvent) -> dict[str, Any]:
    address = event.content.context.get("ip_address")
    return {"ip": address} if address else {"svc_name": SERVICE}


def _authentication(event: SealedEvent, _kind: AuditEventType) -> dict[str, Any]:
    user = {"name": event.content.context.get("subject") or event.content.actor}
    return {"user": user, "service": {"name": SERVICE}, "src_endpoint": _source(event)}


def _account_change(event: SealedEvent, _kind: AuditEventType) -> dict[str, Any]:
    changed = event.content.context.get("role") or event.content.resource or event.content.actor
    return {"user": {"name": changed}, "actor": _actor(event), "src_endpoint": _source(event)}


def _entity_management(event: SealedEvent, kind: AuditEventType) -> dict[str, Any]:
    # `source:subject:action`: the subject is the entity's type, OCSF's 99 says that the name tells it.
    subject = kind.value.split(":")[1]
    entity = {"type": subject, "type_id": OTHER, "uid": event.content.resource or subject}
    return {"entity": entity, "actor": _actor(event)}


def _api_activity(event: SealedEvent, kind: AuditEventType) -> dict[str, Any]:
    context = event.content.context
    route = " ".join(context[part] for part in ("method", "route") if part in context)
    api: dict[str, Any] = {"operation": route or kind.value, "service": {"name": SERVICE}}
    if request := context.get("request_id") or context.get("plaid_request_id"):
        api["request"] = {"uid": request}
    if "status" in context:
        api["response"] = {"code": context["status"]}
    resources = {"resources": [{"uid": event.content.resource}]} if event.content.resource else {}
    return {"actor": _actor(event), "api": api, "src_endpoint": _source(event), **resources}


def _detection_finding(event: SealedEvent, kind: AuditEventType) -> dict[str, Any]:
    rule = event.content.context.get("rule")
    title = f"{kind.meaning.rstrip('.')}: {rule}" if rule else kind.meaning.rstrip(".")
    return {"finding_info": {"title": title, "uid": str(event.content.event_id)}}


PARTS: dict[int, Callable[[SealedEvent, AuditEventType], dict[str, Any]]] = {
    AUTHENTICATION: _authentication,
    ACCOUNT_CHANGE: _account_change,
    ENTITY_MANAGEMENT: _entity_management,
    API_ACTIVITY: _api_activity,
    DETECTION_FINDING: _detection_finding,
}
