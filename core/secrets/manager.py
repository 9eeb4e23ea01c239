"""Looks secrets up by name along the configured providers, and puts the database's address together."""

from collections.abc import Callable

from sqlalchemy import make_url

from core.errors import ConfigurationError
from core.secrets.aws import AwsProvider
from core.secrets.env import EnvProvider
from core.secrets.file import FileProvider
from core.secrets.names import SecretName, variable_of
from core.secrets.provider import SecretProvider
from core.secrets.values import SecretValues
from core.secrets.vault import VaultProvider
from core.settings import Environment, Settings, load_settings

PROVIDERS: dict[str, Callable[[Settings], SecretProvider]] = {
    "env": lambda settings: EnvProvider(read_dotenv=settings.environment is Environment.DEVELOPMENT),
    "file": lambda settings: FileProvider(strict=settings.is_production),
    "aws": lambda settings: AwsProvider(settings.aws_secrets_prefix),
    "vault": VaultProvider,
}


class SecretsManager:
    """Answers with the first provider's secret, in the order of `SECRETS_PROVIDER`.

    A process that runs holds the values of its last refresh (`core.secrets.refresh`), so that no request waits for a
    vault; without one, as in a command, every look goes to the providers.
    """

    def __init__(self, settings: Callable[[], Settings] = load_settings) -> None:
        self._settings = settings
        self._opened: tuple[Settings, list[SecretProvider]] | None = None
        self._held: list[SecretValues] = []

    def get(self, name: str, *, required: bool = True) -> str | None:
        """Return the secret called `name`: the held value, else the providers'.

        Raises:
            ConfigurationError: it is required and no provider has it, or a provider is set up wrongly.
            UnavailableError: a provider does not answer.
        """
        held = self._held[-1].get(name) if self._held else None
        return held if held is not None else self.look_up(name, required=required)

    def look_up(self, name: str, *, required: bool = True) -> str | None:
        """Return the secret as the providers have it now; raises as `get` does."""
        for provider in self._providers():
            if (value := provider.get(name)) is not None:
                return value
        if required:
            accepted = f"{variable_of(name)}, or {variable_of(name)}_FILE with SECRETS_PROVIDER=file"
            raise ConfigurationError(f"the secret {name} is missing; set {accepted}")
        return None

    def read(self) -> SecretValues:
        """Return every secret that Manna Sync knows, as the providers have them now."""
        return SecretValues.of({name: self.look_up(name, required=False) for name in SecretName})

    def hold(self, values: SecretValues) -> None:
        """Answer with these from now on."""
        self._held.append(values)

    def replace(self, old: SecretValues, new: SecretValues) -> None:
        """Swap held values for newer ones."""
        self._held = [new if held is old else held for held in self._held]

    def release(self, values: SecretValues) -> None:
        """Hold these no longer."""
        self._held = [held for held in self._held if held is not values]

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

    def look_up_database_password(self) -> str | None:
        """Return the database's password as it is now; what is written in `DATABASE_URL` cannot change."""
        written = make_url(self._settings().database_url).password
        return str(written) if written else self.look_up(SecretName.DATABASE_PASSWORD, required=False)

    def _providers(self) -> list[SecretProvider]:
        settings = self._settings()
        if unknown := [name for name in settings.secrets_provider if name not in PROVIDERS]:
            accepted = ", ".join(PROVIDERS)
            raise ConfigurationError(f"SECRETS_PROVIDER names {unknown[0]!r}; accepted are {accepted}")
        # Opened once: a vault's log-in and connections are worth keeping.
        if self._opened is None or self._opened[0] != settings:
            self._opened = (settings, [PROVIDERS[name](settings) for name in settings.secrets_provider])
        return self._opened[1]


secrets_manager = SecretsManager()


def get_secret(name: str, *, required: bool = True) -> str | None:
    """Return a secret of this process by name; see `SecretsManager.get`."""
    return secrets_manager.get(name, required=required)
