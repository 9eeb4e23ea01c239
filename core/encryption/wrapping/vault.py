"""HashiCorp Vault's transit engine, over its HTTP API."""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx

from core.errors import ConfigurationError
from core.secrets import get_secret

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class VaultTransit:
    """Wraps by `transit/encrypt`: `VAULT_ADDR` and the secret `vault_token` are those of Vault's own tools.

    `VAULT_NAMESPACE` and `VAULT_CACERT` count when they are set. The wrapped text holds the transit key's name.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def wrap(self, key: bytes, under: str) -> str:
        """Return the wrapped key; `under` is the transit key's name."""
        if not under:
            raise ConfigurationError("Vault wraps under a transit key: name it with --kek")
        answer = self._post("encrypt", under, {"plaintext": base64.b64encode(key).decode("ascii")})
        return f"{under}:{answer['ciphertext']}"

    def unwrap(self, wrapped: str) -> bytes:
        """Return the key."""
        under, _, ciphertext = wrapped.partition(":")
        answer = self._post("decrypt", under, {"ciphertext": ciphertext})
        return base64.b64decode(answer["plaintext"])

    def _post(self, operation: str, under: str, body: dict[str, str]) -> dict[str, Any]:
        address = self.environ.get("VAULT_ADDR")
        if not address:
            raise ConfigurationError("a key is wrapped by Vault: set VAULT_ADDR")
        url = f"{address.rstrip('/')}/v1/transit/{operation}/{quote(under, safe='')}"
        headers = {"X-Vault-Token": get_secret("vault_token") or ""}
        if namespace := self.environ.get("VAULT_NAMESPACE"):
            headers["X-Vault-Namespace"] = namespace
        verify = self.environ.get("VAULT_CACERT") or True
        try:
            answer = httpx.post(url, json=body, headers=headers, timeout=TIMEOUT_SECONDS, verify=verify)
            answer.raise_for_status()
            data: dict[str, Any] = answer.json()["data"]
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            raise ConfigurationError(f"Vault refused to {operation} the key: HTTP {status}") from None
        except (httpx.HTTPError, OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"Vault did not {operation} the key: {type(error).__name__}") from None
        return data
