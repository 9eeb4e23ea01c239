"""What a source of secrets has to be able to do; one file a provider."""

from typing import Protocol


class SecretProvider(Protocol):
    """Where secrets come from: the smallest thing that a vault has to be able to do."""

    def get(self, name: str) -> str | None:
        """Return the secret's text, or None when this provider does not have it.

        Raises:
            ConfigurationError: the provider is set up wrongly, or refuses us.
            UnavailableError: it does not answer.
        """
