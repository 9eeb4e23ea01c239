"""The record of what was done: written with the change, sealed into a hash chain by a consumer of its own."""

from core.audit.context import AuditContext
from core.audit.events import AuditCategory, AuditEventType
from core.audit.outbox import log_audit_event

__all__ = ["AuditCategory", "AuditContext", "AuditEventType", "log_audit_event"]
