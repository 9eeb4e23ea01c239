"""Secrets from AWS Secrets Manager: `AWS_SECRETS_PREFIX` and the name; region and log-in are boto3's own settings."""

from typing import Any

from core.errors import ConfigurationError, UnavailableError

# What AWS answers when it is us who are wrong; everything else may pass by itself.
REFUSALS = {"AccessDeniedException", "UnrecognizedClientException", "InvalidRequestException", "DecryptionFailure"}
SECONDS = 5


class AwsProvider:
    """Reads `{prefix}{name}`'s current version at each look; an empty secret counts as none."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._client = _open_client()

    def get(self, name: str) -> str | None:
        """Return the secret's text, or None when AWS has none of this name."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an optional extra

        try:
            answer = self._client.get_secret_value(SecretId=f"{self._prefix}{name}")
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "ResourceNotFoundException":
                return None
            kind = ConfigurationError if code in REFUSALS else UnavailableError
            raise kind(f"AWS Secrets Manager refused {self._prefix}{name}: {code}") from None
        except BotoCoreError as error:
            raise UnavailableError(f"AWS Secrets Manager is not reachable: {type(error).__name__}") from None
        value: str | None = answer.get("SecretString")
        return (value or "").rstrip("\r\n") or None


def _open_client() -> Any:
    try:
        import boto3  # noqa: PLC0415 - an optional extra
        from botocore.config import Config  # noqa: PLC0415 - the same
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415 - the same
    except ModuleNotFoundError:
        raise ConfigurationError(
            "SECRETS_PROVIDER names aws, which needs boto3: pip install 'manna-sync[aws]'"
        ) from None
    patience = Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries={"mode": "standard", "max_attempts": 3})
    try:
        return boto3.client("secretsmanager", config=patience)
    except BotoCoreError as error:
        raise ConfigurationError(f"AWS is not set up for SECRETS_PROVIDER=aws: {error}") from None
