"""The vocabulary of the audit log: what can be recorded, as `source:subject:action`, each with its category."""

from enum import StrEnum
from typing import Self


class AuditCategory(StrEnum):
    """What an event is about: the six kinds by which rules, exports and people group them."""

    AUTHENTICATION = "authentication"
    AUTHORIZATION = "authorization"
    DATA_ACCESS = "data_access"
    SECURITY = "security"
    CONFIGURATION = "configuration"
    PLAID = "plaid"


AUTHENTICATION, AUTHORIZATION = AuditCategory.AUTHENTICATION, AuditCategory.AUTHORIZATION
DATA_ACCESS, SECURITY = AuditCategory.DATA_ACCESS, AuditCategory.SECURITY
CONFIGURATION, PLAID = AuditCategory.CONFIGURATION, AuditCategory.PLAID


class AuditEventType(StrEnum):
    """What can be recorded. A value, once sealed, keeps its meaning: types are added, never renamed.

    Attributes:
        category: what it is about.
        meaning: one sentence for the reference page and for whoever reads an export.
    """

    category: AuditCategory
    meaning: str

    def __new__(cls, value: str, category: AuditCategory, meaning: str) -> Self:
        """Make a member: a word on the wire that carries its category and meaning."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.category, member.meaning = category, meaning
        return member

    LOGIN_SUCCEEDED = "auth:login:succeeded", AUTHENTICATION, "Somebody proved who they are."
    LOGIN_FAILED = "auth:login:failed", AUTHENTICATION, "A log-in was refused."
    LOGGED_OUT = "auth:session:ended", AUTHENTICATION, "A session was ended by its owner."
    API_TOKEN_ISSUED = "auth:token:issued", AUTHENTICATION, "A token for the API was issued."
    API_TOKEN_REVOKED = "auth:token:revoked", AUTHENTICATION, "A token for the API was revoked."
    API_TOKEN_REJECTED = "auth:token:rejected", AUTHENTICATION, "A request came with no token or a wrong one (401)."

    ACCESS_DENIED = "auth:access:denied", AUTHORIZATION, "Somebody known asked for what they may not have (403)."
    RATE_LIMITED = "auth:request:rate_limited", AUTHORIZATION, "A caller went over its rate limit (429)."

    TOKEN_DECRYPTED = "plaid:token:decrypted", DATA_ACCESS, "An access token is about to be decrypted."
    DATA_READ = "api:data:read", DATA_ACCESS, "Financial data of an Item were read through the API."
    DATA_EXPORTED = "operator:data:exported", DATA_ACCESS, "Financial data left the database as a file."
    PAGES_REPLAYED = "plaid:pages:replayed", DATA_ACCESS, "Recorded pages of a failed run are opened to be applied."
    AUDIT_READ = "operator:audit:read", DATA_ACCESS, "Audit events were read through the API or the console."
    AUDIT_EXPORTED = "operator:audit:exported", DATA_ACCESS, "Audit events were exported."

    KEY_GENERATED = "keys:key:generated", SECURITY, "A key was generated."
    KEY_ADDED = "keys:key:added", SECURITY, "A field-encryption key became known to the keyring."
    KEY_PROMOTED = "keys:key:promoted", SECURITY, "A key became the one that seals."
    KEY_DESTROYED = "keys:key:destroyed", SECURITY, "A key was destroyed; nothing uses it any more."
    KEY_ROTATION_STARTED = "keys:rotation:started", SECURITY, "Re-encryption under another key began."
    KEY_ROTATION_BATCH = "keys:rotation:batch", SECURITY, "A batch of values was re-encrypted."
    KEY_ROTATION_FINISHED = "keys:rotation:finished", SECURITY, "Re-encryption ended; its proof is in the context."
    TOKENS_ENCRYPTED = "keys:tokens:encrypted", SECURITY, "Access tokens stored as plain text were encrypted."
    TOKENS_IMPORTED = "keys:tokens:imported", SECURITY, "Access tokens of another library were taken over."
    SIGNING_KEY_ROTATED = "keys:signing_key:rotated", SECURITY, "A signing key was replaced."
    SECRET_ROTATED = "secrets:secret:rotated", SECURITY, "A secret changed while the service ran."
    DECRYPTION_FAILED = "security:value:decryption_failed", SECURITY, "A sealed value did not open."
    SECURITY_VALIDATED = "security:checks:run", SECURITY, "The security checks were run."
    CHAIN_VERIFIED = "audit:chain:verified", SECURITY, "Verification found the audit chain whole."
    CHAIN_BROKEN = "audit:chain:broken", SECURITY, "Verification found the audit chain changed."
    ALERT_RAISED = "audit:alert:raised", SECURITY, "An alert rule was met."

    SETTINGS_CHANGED = "config:settings:changed", CONFIGURATION, "A process started with other settings than before."
    RISK_ACCEPTED = "config:risk:accepted", CONFIGURATION, "A security flag is off, and the operator accepted it."
    SECURITY_SET_UP = "config:security:set_up", CONFIGURATION, "The security set-up wrote keys or settings."
    SCHEMA_MIGRATED = "config:schema:migrated", CONFIGURATION, "The database's schema was migrated."
    ROLE_CHANGED = "config:role:changed", CONFIGURATION, "A database role or its rights were changed."
    RETENTION_APPLIED = "config:retention:applied", CONFIGURATION, "Rows past their retention were deleted."
    PARTITION_RETIRED = "audit:partition:retired", CONFIGURATION, "A month of the audit log is dropped by retention."

    LINK_TOKEN_CREATED = "plaid:link_token:created", PLAID, "A Link session was opened for a user."
    ITEM_LINKED = "plaid:item:linked", PLAID, "A user linked an Item through Link."
    ITEM_REGISTERED = "operator:item:registered", PLAID, "An operator took over an Item linked elsewhere."
    ITEM_STATUS_CHANGED = "plaid:item:status_changed", PLAID, "An Item needs its user, or works again."
    ITEM_REMOVED = "plaid:item:removed", PLAID, "An Item was removed at Plaid and its token destroyed."
    ITEM_REVOKED = "plaid:item:revoked", PLAID, "A user or an institution revoked an Item's access."
    ACCESS_TOKEN_ROTATED = "plaid:token:rotated", PLAID, "An Item's access token was replaced by Plaid's new one."
    SYNC_REQUESTED = "operator:sync:requested", PLAID, "Somebody asked for a sync out of turn."
    ITEM_SYNCED = "plaid:item:synced", PLAID, "An Item's changes and its cursor were committed."
    SYNC_FAILED = "plaid:item:sync_failed", PLAID, "A sync ended without a commit."
    REPLAY_REQUESTED = "operator:replay:requested", PLAID, "Somebody asked for failed runs to be replayed."
    REPLAY_STOPPED = "operator:replay:stopped", PLAID, "Somebody stopped a replay; it can be resumed."
    REPLAY_RESUMED = "operator:replay:resumed", PLAID, "Somebody let a stopped replay go on."
    REPLAY_FINISHED = "operator:replay:finished", PLAID, "A replay came to its end."
    RECONCILE_REQUESTED = "operator:reconcile:requested", PLAID, "Somebody asked for an Item to be reconciled."
    ITEM_RECONCILED = "operator:item:reconciled", PLAID, "An Item was compared with a fresh pull."
    ITEM_REPAIRED = "operator:item:repaired", PLAID, "An Item's drift was repaired from a fresh pull."
    BREAKER_OPENED = "plaid:institution:parked", PLAID, "An institution is down: its Items wait."
    BREAKER_CLOSED = "plaid:institution:released", PLAID, "An institution answers again: its Items are released."
    WEBHOOK_RECEIVED = "plaid:webhook:received", PLAID, "A verified webhook was made durable."
    WEBHOOK_REJECTED = "plaid:webhook:rejected", PLAID, "A webhook that is not verifiably Plaid's was refused."
