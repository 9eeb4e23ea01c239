"""Everything that the checks look at, read once and frozen: a check itself reads nothing but this."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.secrets.values import SecretValues
from core.settings import Environment, Settings


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What PostgreSQL says about itself and about us."""

    version: int
    tls: bool
    user: str
    superuser: bool
    creates_roles: bool
    bypasses_row_security: bool
    public_may_create: bool
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SchemaFacts:
    """What our tables say."""

    revision: str | None
    head: str
    owned_tables: tuple[str, ...]
    plaintext_tokens: int
    audit_triggers: frozenset[str]
    audit_rights: frozenset[str]
    partition_rights: frozenset[str]
    chain_seq: int
    last_seq: int
    head_matches: bool
    outbox_oldest_seconds: float
    events_before_their_time: int


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """What Redis says about itself."""

    version: tuple[int, ...]
    parameters: Mapping[str, str]
    open_without_password: bool
    user: str


@dataclass(frozen=True, slots=True)
class WebFacts:
    """What the web application answers, asked in this process."""

    live_status: int
    live_headers: Mapping[str, str]
    missing_headers: Mapping[str, str]
    missing_body: str
    unsigned_webhook_refused: bool


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Files of the installation: their modes and contents, as far as checks need them."""

    dotenv_mode: int | None
    ignored: tuple[str, ...]
    tracked: tuple[str, ...]
    private_keys: tuple[str, ...]
    readable_secrets: tuple[str, ...]
    writable_code: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LockFacts:
    """The locked and the installed packages, by name in lower case."""

    locked: Mapping[str, str]
    unhashed: tuple[str, ...]
    addresses: tuple[str, ...]
    installed: Mapping[str, str]
    required: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """The interpreter and the process."""

    python: tuple[int, int]
    openssl: tuple[int, ...]
    is_root: bool
    core_dump_bytes: int
    optimised: bool
    umask: int
    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was read. A part that could not be looked at is None, and `absent` says why."""

    environment: Environment
    environ: Mapping[str, str] = field(repr=False)
    settings: Settings | None
    settings_problem: str | None
    secrets: SecretValues | None
    celery: Mapping[str, Any] | None
    database: DatabaseFacts | None
    schema: SchemaFacts | None
    redis: RedisFacts | None
    web: WebFacts | None
    files: FileFacts
    locks: LockFacts | None
    process: ProcessFacts
    root: Path
    absent: Mapping[str, str]

    @property
    def is_production(self) -> bool:
        """Whether the strict rules are asked for."""
        return self.environment is Environment.PRODUCTION

    @property
    def given(self) -> Settings:
        """The settings; only for checks that need them."""
        if self.settings is None:
            raise ValueError("a check that reads settings has to say needs='settings'")
        return self.settings
