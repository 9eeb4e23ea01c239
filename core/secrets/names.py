"""The secrets that Manna Sync knows, and the environment variable of each."""

from enum import StrEnum


class SecretName(StrEnum):
    """A secret's name; in files it is the file's name."""

    ENCRYPTION_KEY = "encryption_key"
    ENCRYPTION_KEYS_PREVIOUS = "encryption_keys_previous"
    DATABASE_PASSWORD = "database_password"  # noqa: S105 - the name, not the password
    JWT_SIGNING_KEY = "jwt_signing_key"
    JWT_SIGNING_KEYS_PREVIOUS = "jwt_signing_keys_previous"
    AUDIT_SIGNING_KEY = "audit_signing_key"
    AUDIT_ALERT_WEBHOOK_SECRET = "audit_alert_webhook_secret"  # noqa: S105 - the name, not the secret
    REDIS_PASSWORD = "redis_password"  # noqa: S105 - the name, not the password
    PLAID_SECRET = "plaid_secret"  # noqa: S105 - the name, not the secret


VARIABLES = {
    SecretName.ENCRYPTION_KEY: "MANNA_ENCRYPTION_KEY",
    SecretName.ENCRYPTION_KEYS_PREVIOUS: "MANNA_ENCRYPTION_KEYS_PREVIOUS",
}


def variable_of(name: str) -> str:
    """Return the environment variable of a secret: `plaid_secret` is `PLAID_SECRET`."""
    return next((value for key, value in VARIABLES.items() if key == name), name.upper())
