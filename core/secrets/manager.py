"""Looks secrets up by name along the configured providers, and puts the database's address together."""

from collections.abc import Callable
from typing import Protocol

from sqlalchemy import make_url

from core.errors import ConfigurationError
from core.secrets.env import EnvProvider
from core.secrets.file import FileProvider
from core.secrets.names import SecretName, variable_of
from core.settings import Environment, Settings, load_settings


class SecretProvider(Protocol):
    """Where secrets come from: the smallest thing that a vault has to be able to do."""

    def get(self, name: str) -> str | None:
        """Return the secret's text, or None when this provider does not have it."""


PROVIDERS: dict[str, Callable[[Settings], SecretProvider]] = {
    "env": lambda settings: EnvProvider(read_dotenv=settings.environment is Environment.DEVELOPMENT),
    "file": lambda _settings: FileProvider(),
}


class SecretsManager:
    """Answers with the first provider's secret, in the order of `SECRETS_PROVIDER`; caches nothing.

    Not caching is what makes a rotated secret count at the next look, and keeps no plaintext around.
    """

    def __init__(self, settings: Callable[[], Settings] = load_settings) -> None:
        self._settings = settings

    def get(self, name: str, *, required: bool = True) -> str | None:
        """Return the secret called `name`.

        Raises:
            ConfigurationError: it is required and no provider has it, or a provider's name is unknown.
        """
        for provider in self._providers():
            if (value := provider.get(name)) is not None:
                return value
        if required:
            accepted = f"{variable_of(name)}, or {variable_of(name)}_FILE with SECRETS_PROVIDER=file"
            raise ConfigurationError(f"the secret {name} is missing; set {accepted}")
        return None

    def get_database_url(self) -> str:
        """Return `DATABASE_URL` with the secret `database_password` put in where it names none.

        Raises:
            ConfigurationError: production, and neither place has a password.
        """
        settings = self._settings()
        url = make_url(settings.database_url)
        if not url.password:
            url = url.set(password=self.get(SecretName.DATABASE_PASSWORD, required=False))
        if settings.is_production and not url.password:
            raise ConfigurationError(
                "Database password required in production: put it into DATABASE_PASSWORD or DATABASE_URL"
            )
        return url.render_as_string(hide_password=False)

    def _providers(self) -> list[SecretProvider]:
        settings = self._settings()
        if unknown := [name for name in settings.secrets_provider if name not in PROVIDERS]:
            accepted = ", ".join(PROVIDERS)
            raise ConfigurationError(f"SECRETS_PROVIDER names {unknown[0]!r}; accepted are {accepted}")
        return [PROVIDERS[name](settings) for name in settings.secrets_provider]


secrets_manager = SecretsManager()


def get_secret(name: str, *, required: bool = True) -> str | None:
    """Return a secret of this process by name; see `SecretsManager.get`."""
    return secrets_manager.get(name, required=required)
