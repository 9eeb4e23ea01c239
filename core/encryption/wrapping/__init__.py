"""Wrapped data keys: the secret holds a key that only a key-management service, or a file elsewhere, can unwrap.

`wrapped:local:…`, `wrapped:aws:…` and `wrapped:vault:…` may stand wherever a key may. Unwrapping happens once,
when the keyring is loaded; the service is not asked again for each value.
"""

from collections.abc import Callable
from typing import Protocol

from core.encryption.wrapping.aws import AwsKms
from core.encryption.wrapping.local import LocalFile
from core.encryption.wrapping.vault import VaultTransit
from core.errors import ConfigurationError

PREFIX = "wrapped:"


class KeyWrapper(Protocol):
    """Wraps and unwraps data keys: the smallest thing that a key-management service has to be able to do."""

    def wrap(self, key: bytes, under: str) -> str:
        """Return the key, wrapped under the service's key of that name, as text without commas."""

    def unwrap(self, wrapped: str) -> bytes:
        """Return the key."""


WRAPPERS: dict[str, Callable[[], KeyWrapper]] = {"local": LocalFile, "aws": AwsKms, "vault": VaultTransit}


def is_wrapped(text: str) -> bool:
    """Tell whether a secret's text is a wrapped key."""
    return text.startswith(PREFIX)


def wrap_key(key: bytes, service: str, under: str = "") -> str:
    """Return a key as `wrapped:service:…`, fit for `MANNA_ENCRYPTION_KEY`.

    Raises:
        ConfigurationError: the service is unknown, not set up or refuses.
    """
    return f"{PREFIX}{service}:{_wrapper(service).wrap(key, under)}"


def unwrap_key(text: str) -> bytes:
    """Return the key of a `wrapped:service:…` text.

    Raises:
        ConfigurationError: the service is unknown, not set up or refuses.
    """
    service, _, wrapped = text.removeprefix(PREFIX).partition(":")
    return _wrapper(service).unwrap(wrapped)


def _wrapper(service: str) -> KeyWrapper:
    if service not in WRAPPERS:
        raise ConfigurationError(f"a key is wrapped by {service[:20]!r}; accepted are {', '.join(WRAPPERS)}")
    return WRAPPERS[service]()
