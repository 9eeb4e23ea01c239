from enum import StrEnum


class Scope(StrEnum):
    """What a token may do."""

    ITEMS_READ = "items:read"
    ITEMS_WRITE = "items:write"
    SYNCS_READ = "syncs:read"
    SYNCS_REPLAY = "syncs:replay"
    AUDIT_READ = "audit:read"
