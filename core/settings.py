"""The settings of a process: read once from the environment, checked as a whole, frozen."""

from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AnyHttpUrl, Field, TypeAdapter, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from core.errors import ConfigurationError

REDIS_SCHEMES = ("redis://", "rediss://", "sentinel://", "rediss-sentinel://")
BROKER_SCHEMES = ("amqp://", "amqps://")
SECURITY_FLAGS = (
    "FIELD_ENCRYPTION_ENABLED",
    "SECURITY_HEADERS_ENABLED",
    "RATE_LIMITING_ENABLED",
    "AUDIT_LOGGING_ENABLED",
    "REQUIRE_HTTPS",
    "SECURE_COOKIES",
)
DATABASE_TLS_RISK = "DATABASE_TLS_VERIFICATION"
REDIS_TLS_RISK = "REDIS_TLS"
BROKER_TLS_RISK = "BROKER_TLS"
ACCEPTABLE_RISKS = (*SECURITY_FLAGS, DATABASE_TLS_RISK, REDIS_TLS_RISK, BROKER_TLS_RISK)
PLAID_HOSTS = {"sandbox": "https://sandbox.plaid.com", "production": "https://production.plaid.com"}


class Environment(StrEnum):
    """Where the process runs; production is strict, the others are convenient."""

    DEVELOPMENT = "development"
    TEST = "test"
    PRODUCTION = "production"


class PlaidEnvironment(StrEnum):
    """Plaid's two environments."""

    SANDBOX = "sandbox"
    PRODUCTION = "production"


def _in_production(validated: dict[str, Any]) -> bool:
    # A console on loopback has no certificate: HTTPS and secure cookies are on by default where it counts.
    return validated.get("environment") is Environment.PRODUCTION


class Settings(BaseSettings):
    """Every setting that is not a secret; secrets come from `core.secrets` by name.

    Field names are the environment's names in lower case; `MANNA_ENVIRONMENT` is `environment`.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,
        # The line below a field is its meaning in docs/reference/settings.md.
        use_attribute_docstrings=True,
    )

    environment: Environment = Field(Environment.DEVELOPMENT, validation_alias="MANNA_ENVIRONMENT")
    """Where the process runs; production is strict."""
    # These may hold a password.
    database_url: str = Field("postgresql://localhost/manna", repr=False)
    """PostgreSQL; any driver suffix, asyncpg is used. libpq's `sslmode`, `sslrootcert`, `sslcert`, `sslkey` count."""
    redis_url: str = Field("redis://localhost:6379/0", repr=False)
    """Broker, leases, limits: `redis[s]://`, `[rediss-]sentinel://…?master=NAME`; a user alone takes a secret."""
    broker_url: str = Field("", repr=False)
    """RabbitMQ for the messages in place of Redis: `amqp://`, `amqps://`; Redis keeps leases and limits."""
    secrets_provider: Annotated[tuple[str, ...], NoDecode] = ("env",)
    """Where secrets are looked up, in this order."""
    secrets_refresh_seconds: Annotated[float, Field(ge=1, le=60)] = 30.0
    """How often a running process looks for rotated secrets."""
    aws_secrets_prefix: str = "manna/"
    """What the names of our secrets begin with in AWS Secrets Manager."""
    vault_addr: str = ""
    """Vault's address."""
    vault_namespace: str = ""
    """Vault's namespace, where there are any."""
    vault_cacert: str = ""
    """The authority of Vault's certificate, a PEM file."""
    vault_mount: str = "secret"
    """The mount of the KV version 2 engine."""
    vault_path: str = "manna"
    """The document below the mount whose fields are the secrets."""
    vault_role_id: str = ""
    """Logs in to Vault by AppRole."""
    vault_kubernetes_role: str = ""
    """Logs in to Vault as a Kubernetes service account."""

    field_encryption_enabled: bool = True
    """Seals access tokens."""
    security_headers_enabled: bool = True
    """Sends the security headers with every answer."""
    rate_limiting_enabled: bool = True
    """Limits requests per route, address and user."""
    audit_logging_enabled: bool = True
    """Records audit events."""
    require_https: bool = Field(default_factory=_in_production)
    """Refuses plain HTTP and sends HSTS."""
    secure_cookies: bool = Field(default_factory=_in_production)
    """Marks cookies as for HTTPS only."""
    accept_risk: Annotated[tuple[str, ...], NoDecode] = Field((), validation_alias="MANNA_ACCEPT_RISK")
    """Guards that production may do without."""

    plaid_client_id: str = ""
    """Plaid's client id."""
    plaid_env: PlaidEnvironment = PlaidEnvironment.SANDBOX
    """Plaid's environment."""
    plaid_base_url: str | None = None
    """Replaces Plaid's host: a simulator or a proxy."""
    plaid_timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 30.0
    """How long a call to Plaid may take."""
    plaid_concurrency: Annotated[int, Field(ge=1, le=1000)] = 128
    """How many calls to Plaid a process makes at once."""
    plaid_client_name: Annotated[str, Field(min_length=1, max_length=30)] = "Manna Sync"
    """The name that Link shows to users."""
    plaid_language: Annotated[str, Field(pattern="^[a-z]{2}$")] = "en"
    """Link's language."""
    plaid_country_codes: Annotated[tuple[str, ...], NoDecode] = ("US",)
    """The countries whose banks Link offers."""
    plaid_days_requested: Annotated[int, Field(ge=1, le=730)] = 730
    """How many days of history are asked for when an Item is linked; Plaid never extends it afterwards."""
    plaid_redirect_uri: str | None = None
    """Where a bank's OAuth page returns to; registered with Plaid."""

    public_url: str | None = None
    """Where Plaid and browsers reach us; webhooks are sent to /webhooks/plaid below it."""
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    """Addresses and networks whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    api_rate_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] = 600
    """Requests a minute that one token may read with; other limits of the API follow from it."""
    webhook_rate_per_minute: Annotated[int, Field(ge=1, le=10_000_000)] = 60_000
    """Webhooks a minute that one address may send."""
    # 0 is what Plaid publishes for the environment: core.plaid.shared_budget.
    plaid_rate_per_item_per_minute: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Calls to Plaid for one Item; 0 is what Plaid publishes for the environment."""
    plaid_rate_per_client_per_minute: Annotated[int, Field(ge=0, le=100_000_000)] = 0
    """Calls to Plaid for all Items; 0 is what Plaid publishes for the environment."""

    sync_interval_seconds: Annotated[int, Field(ge=60)] = 14_400
    """How often an Item is synced without a webhook."""
    sync_lock_ttl_seconds: Annotated[float, Field(ge=1, le=3600)] = 60.0
    """How long an Item's lease outlives its holder."""
    sync_page_size: Annotated[int, Field(ge=1, le=500)] = 500
    """Transactions a page."""
    sync_time_limit_seconds: Annotated[float, Field(ge=5, le=3600)] = 600.0
    """How long one sync may take."""
    sync_concurrency: Annotated[int, Field(ge=1, le=1000)] = 192
    """How many syncs a process has under way."""
    sync_memory_mb: Annotated[int, Field(ge=1, le=4096)] = 16
    """MB of pages that a process reads or commits at once; between the two, pages wait in files."""
    sync_dispatch_seconds: Annotated[float, Field(ge=0.1, le=600)] = 1.0
    """How often due Items are looked for."""

    page_journal_days: Annotated[int, Field(ge=0, le=90)] = 0
    """How many days the pages of syncs are kept, sealed, to replay a failed one without Plaid; 0 keeps none."""
    page_journal_max_mb: Annotated[int, Field(ge=16, le=10_000_000)] = 10_240
    """What the page journal may take: the oldest days go first, and a day that takes it all is recorded no further."""

    keyring_refresh_seconds: Annotated[float, Field(ge=0.1, le=60)] = 10.0
    """How often a process reports its field-encryption keys and follows a promotion."""
    reencrypt_rows_per_second: Annotated[int, Field(ge=0, le=1_000_000)] = 5000
    """How fast a key rotation goes; 0 is as fast as it can."""
    audit_public_keys: Annotated[tuple[str, ...], NoDecode] = ()
    """Public keys whose checkpoints count beside our own."""
    audit_export_directory: Path | None = None
    """Where sealed months' roots are written before retention drops them."""
    audit_alert_rules: Path | None = None
    """A TOML file of alert rules in place of those that are shipped."""
    # Some receivers' addresses carry a key.
    audit_alert_webhook_url: str | None = Field(None, repr=False)
    """Where alerts are posted to, signed."""
    audit_retention_days: Annotated[int, Field(ge=1)] = 2557
    """How long audit events are kept."""
    sync_run_retention_days: Annotated[int, Field(ge=1)] = 90
    """How long the run history is kept."""
    webhook_retention_days: Annotated[int, Field(ge=1)] = 90
    """How long received webhooks are kept."""

    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Where a worker serves its metrics, a port for each worker of a host; 0 is nowhere."""
    metrics_host: str = "127.0.0.1"
    """The address that it listens on for them; a container needs 0.0.0.0."""
    otel_traces_exporter: Literal["none", "otlp"] = "none"
    """`otlp` sends traces to OpenTelemetry's collector; the other `OTEL_…` variables are the library's own."""

    database_pooler: Literal["none", "pgbouncer"] = "none"
    """`pgbouncer` behind PgBouncer in transaction mode: no prepared statements, time-outs by role."""
    database_pool_size: Annotated[int, Field(ge=1, le=200)] = 20
    """Connections a process keeps at most."""
    connect_timeout_seconds: Annotated[float, Field(gt=0, le=120)] = 10.0
    """How long PostgreSQL and Redis may take to answer at start, and a rotated password to arrive."""

    @field_validator(
        "secrets_provider", "accept_risk", "audit_public_keys", "plaid_country_codes", "trusted_proxies", mode="before"
    )
    @classmethod
    def _split(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("accept_risk")
    @classmethod
    def _check_accept_risk(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in value if name not in ACCEPTABLE_RISKS]:
            raise ValueError(f"names {unknown[0][:40]!r}; accepted are {', '.join(ACCEPTABLE_RISKS)}")
        return value

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, value: str) -> str:
        try:
            url = make_url(value)
        except ArgumentError:
            raise ValueError("is not a URL; accepted is postgresql://user@host:port/name") from None
        if url.get_backend_name() not in {"postgresql", "postgres"}:
            raise ValueError("is not for PostgreSQL; accepted is postgresql://user@host:port/name")
        if not url.database:
            raise ValueError("names no database; accepted is postgresql://user@host:port/name")
        return value

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, value: str) -> str:
        if not value.startswith(REDIS_SCHEMES):
            raise ValueError(
                "has an unknown scheme; accepted are redis://, rediss://, sentinel:// and rediss-sentinel://"
            )
        return value

    @field_validator("broker_url")
    @classmethod
    def _check_broker_url(cls, value: str) -> str:
        if value and not value.startswith(BROKER_SCHEMES):
            raise ValueError("has an unknown scheme; accepted are amqp:// and amqps://, or nothing for Redis")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _check_trusted_proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            try:
                ip_network(network)
            except ValueError:
                raise ValueError("names no network; accepted are addresses and networks, 10.0.0.0/8") from None
        return value

    @field_validator("plaid_base_url", "public_url", "plaid_redirect_uri")
    @classmethod
    def _check_plaid_base_url(cls, value: str | None) -> str | None:
        if value is not None:
            TypeAdapter(AnyHttpUrl).validate_python(value)
        return value

    @field_validator("audit_alert_webhook_url")
    @classmethod
    def _check_audit_alert_webhook_url(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
            raise ValueError("would send alerts in the clear; accepted are https:// and, on this host, http://")
        return value

    @model_validator(mode="after")
    def _check_production(self) -> "Settings":
        # Ciphertexts and tokens must not travel in the clear between hosts that we do not own.
        if self.is_production and (self.plaid_base_url or "https://").startswith("http://"):
            raise ValueError("PLAID_BASE_URL must be https:// in production")
        if self.is_production and (risks := [flag for flag in self.flags_off if flag not in self.accept_risk]):
            raise ValueError(f"{risks[0]} is off in production; accepted is true, or name it in MANNA_ACCEPT_RISK")
        return self

    @property
    def flags_off(self) -> tuple[str, ...]:
        """The security flags that are off, by their variables' names."""
        return tuple(flag for flag in SECURITY_FLAGS if not getattr(self, flag.lower()))

    @property
    def is_production(self) -> bool:
        """Whether the strict rules hold."""
        return self.environment is Environment.PRODUCTION

    @property
    def webhook_url(self) -> str | None:
        """Where Plaid sends webhooks to; None while `PUBLIC_URL` does not say where we are."""
        return None if self.public_url is None else self.public_url.rstrip("/") + "/webhooks/plaid"

    @property
    def plaid_host(self) -> str:
        """Plaid's address for this environment, or the override's."""
        return (self.plaid_base_url or PLAID_HOSTS[self.plaid_env]).rstrip("/")


def variable_name(field: str) -> str:
    """Return the environment variable of a field of `Settings`."""
    alias = Settings.model_fields[field].validation_alias if field in Settings.model_fields else None
    return str(alias or field).upper()


def _reason(kind: str, message: str) -> str:
    if kind.startswith("bool_"):
        return "is neither yes nor no; accepted are true and false"
    if kind in {"enum", "literal_error"}:
        return message.replace("Input should be", "is unknown; accepted are")
    return message.removeprefix("Value error, ").replace("Input should be", "should be")


def load_settings(**overrides: Any) -> Settings:
    """Return the checked settings of this process; `.env` counts in development only.

    Raises:
        ConfigurationError: with one line that names the variable, what is wrong and what is accepted; the
            value itself is never shown, it could be a secret in the wrong place.
    """
    try:
        settings = Settings(**overrides)
        if settings.environment is Environment.DEVELOPMENT:
            settings = Settings(_env_file=".env", **overrides)  # type: ignore[call-arg]  # pydantic-settings' own
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        variable = variable_name(str(first["loc"][0])) if first["loc"] else ""
        raise ConfigurationError(f"{variable} {_reason(first['type'], first['msg'])}".strip()) from None
    return settings
