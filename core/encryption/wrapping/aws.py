"""AWS KMS; needs the extra `manna-sync[aws]`, and boto3's own configuration for region and credentials."""

from typing import Any

from core.encryption.cipher import from_base64url, to_base64url
from core.errors import ConfigurationError

CONTEXT = {"use": "manna-sync/field-key"}


class AwsKms:
    """Wraps by KMS `Encrypt`; the encryption context keeps other uses of the same KMS key apart."""

    def wrap(self, key: bytes, under: str) -> str:
        """Return the wrapped key; `under` is the KMS key's id, ARN or alias."""
        if not under:
            raise ConfigurationError("AWS KMS wraps under a key of its own: name its id, ARN or alias with --kek")
        answer = _call("encrypt", KeyId=under, Plaintext=key, EncryptionContext=CONTEXT)
        return to_base64url(answer["CiphertextBlob"])

    def unwrap(self, wrapped: str) -> bytes:
        """Return the key; the wrapped text itself says which KMS key it needs."""
        answer = _call("decrypt", CiphertextBlob=from_base64url(wrapped), EncryptionContext=CONTEXT)
        key: bytes = answer["Plaintext"]
        return key


def _call(operation: str, **arguments: Any) -> dict[str, Any]:
    try:
        import boto3  # noqa: PLC0415 - an optional extra
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as above
    except ImportError:
        raise ConfigurationError("a key is wrapped by AWS KMS: install manna-sync[aws]") from None
    try:
        answer: dict[str, Any] = getattr(boto3.client("kms"), operation)(**arguments)
    except ClientError as error:
        raise ConfigurationError(f"AWS KMS refused to {operation} the key: {error.response['Error']['Code']}") from None
    except BotoCoreError as error:
        raise ConfigurationError(f"AWS KMS did not {operation} the key: {type(error).__name__}") from None
    return answer
