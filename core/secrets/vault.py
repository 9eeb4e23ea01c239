"""Secrets from HashiCorp Vault or OpenBao: one KV version 2 document, whose fields are the secrets' names.

Logs in by token, AppRole or Kubernetes service account, whichever is configured, over plain HTTP calls: two routes
need no client library.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from core.errors import ConfigurationError, UnavailableError
from core.secrets.file import read_secret_file
from core.settings import Settings

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
SECONDS = 5.0
FORBIDDEN = (401, 403)


class VaultProvider:
    """Reads the document at each look; logs in at the first, and again when a token has run out."""

    def __init__(
        self, settings: Settings, environ: Mapping[str, str] = os.environ, service_account: Path = SERVICE_ACCOUNT
    ) -> None:
        if not settings.vault_addr:
            raise ConfigurationError("SECRETS_PROVIDER names vault; set VAULT_ADDR to its address")
        if settings.is_production and not settings.vault_addr.startswith("https://"):
            raise ConfigurationError("VAULT_ADDR must be https:// in production")
        self._settings = settings
        self._environ = environ
        self._service_account = service_account
        self._path = f"/v1/{settings.vault_mount}/data/{settings.vault_path}"
        self._token: str | None = None
        self._http = _open_http(settings)

    def get(self, name: str) -> str | None:
        """Return the field called `name`, or None when the document or the field is not there."""
        value = self._document().get(name)
        return str(value).rstrip("\r\n") or None if value is not None else None

    def _document(self) -> Mapping[str, Any]:
        answer = self._call("GET", self._path, token=self._token or self._log_in())
        if answer.status_code in FORBIDDEN:
            answer = self._call("GET", self._path, token=self._log_in())
        if answer.status_code == httpx.codes.NOT_FOUND:
            return {}
        _check(answer, f"reading {self._path}")
        found: Mapping[str, Any] = _told(answer, "data", "data") or {}
        return found

    def _log_in(self) -> str:
        if token := self._own("VAULT_TOKEN"):
            self._token = token
            return token
        method, body = self._credentials()
        answer = self._call("POST", f"/v1/auth/{method}/login", json=body)
        _check(answer, f"logging in by {method}")
        self._token = str(_told(answer, "auth", "client_token"))
        return self._token

    def _credentials(self) -> tuple[str, dict[str, str]]:
        if self._settings.vault_role_id:
            return "approle", {"role_id": self._settings.vault_role_id, "secret_id": self._own("VAULT_SECRET_ID") or ""}
        if self._settings.vault_kubernetes_role:
            account = read_secret_file("the Kubernetes service account", self._service_account) or ""
            return "kubernetes", {"role": self._settings.vault_kubernetes_role, "jwt": account}
        accepted = "VAULT_TOKEN, VAULT_ROLE_ID with VAULT_SECRET_ID, or VAULT_KUBERNETES_ROLE"
        raise ConfigurationError(f"Vault has no way to log in; set {accepted}")

    def _own(self, variable: str) -> str | None:
        if value := self._environ.get(variable):
            return value
        file = self._environ.get(f"{variable}_FILE")
        return read_secret_file(f"{variable}_FILE", Path(file)) if file else None

    def _call(self, method: str, path: str, token: str | None = None, json: Any = None) -> httpx.Response:
        headers = {"X-Vault-Token": token} if token else {}
        try:
            return self._http.request(method, path, headers=headers, json=json)
        except httpx.HTTPError as error:
            where = self._settings.vault_addr
            raise UnavailableError(f"Vault at {where} is not reachable: {type(error).__name__}") from None


def _open_http(settings: Settings) -> httpx.Client:
    headers = {"X-Vault-Request": "true"}
    if settings.vault_namespace:
        headers["X-Vault-Namespace"] = settings.vault_namespace
    verify: Any = True
    if settings.vault_cacert:
        try:
            verify = httpx.create_ssl_context(verify=settings.vault_cacert)
        except OSError:
            raise ConfigurationError(f"VAULT_CACERT names {settings.vault_cacert}, which cannot be read") from None
    return httpx.Client(base_url=settings.vault_addr, headers=headers, timeout=SECONDS, verify=verify)


def _check(answer: httpx.Response, what: str) -> None:
    if answer.status_code in {*FORBIDDEN, httpx.codes.BAD_REQUEST}:
        raise ConfigurationError(f"Vault refused {what}: HTTP {answer.status_code}")
    if answer.is_error:
        raise UnavailableError(f"Vault failed at {what}: HTTP {answer.status_code}")


def _told(answer: httpx.Response, outer: str, inner: str) -> Any:
    try:
        return answer.json()[outer][inner]
    except (ValueError, KeyError, TypeError):
        raise UnavailableError("what answers at VAULT_ADDR does not answer as Vault does") from None
