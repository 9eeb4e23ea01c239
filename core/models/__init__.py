"""The tables, one a file. Importing this package is what makes `Base.metadata` complete."""

from core.models.account import Account
from core.models.audit_alert_state import AuditAlertState
from core.models.audit_chain import AuditChain
from core.models.audit_checkpoint import AuditCheckpoint
from core.models.audit_event import AuditEvent
from core.models.audit_outbox import AuditOutbox
from core.models.circuit_breaker import BreakerState, CircuitBreaker
from core.models.encryption_key import EncryptionKey
from core.models.idempotency_key import IdempotencyKey
from core.models.item_removal import ItemRemoval
from core.models.item_schedule import ItemSchedule
from core.models.journal_page import JournalPage
from core.models.keyring_report import KeyringReport
from core.models.plaid_item import ItemStatus, PlaidItem
from core.models.quarantined_transaction import QuarantinedTransaction
from core.models.replay import Replay, ReplayItem, ReplayState, ReplayStatus
from core.models.staged_transaction import STAGED
from core.models.sync_run import RunStatus, SyncRun, SyncTrigger
from core.models.token_rotation import TokenRotation, TokenRotationStatus
from core.models.transaction import Transaction
from core.models.webhook_event import WebhookEvent
from core.models.webhook_registration import WebhookRegistration

__all__ = [
    "STAGED",
    "Account",
    "AuditAlertState",
    "AuditChain",
    "AuditCheckpoint",
    "AuditEvent",
    "AuditOutbox",
    "BreakerState",
    "CircuitBreaker",
    "EncryptionKey",
    "IdempotencyKey",
    "ItemRemoval",
    "ItemSchedule",
    "ItemStatus",
    "JournalPage",
    "KeyringReport",
    "PlaidItem",
    "QuarantinedTransaction",
    "Replay",
    "ReplayItem",
    "ReplayState",
    "ReplayStatus",
    "RunStatus",
    "SyncRun",
    "SyncTrigger",
    "TokenRotation",
    "TokenRotationStatus",
    "Transaction",
    "WebhookEvent",
    "WebhookRegistration",
]
