"""Secrets from environment variables, and in development from `.env` as well."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from dotenv import dotenv_values

from core.secrets.names import variable_of


@dataclass(frozen=True, slots=True)
class EnvProvider:
    """Reads a secret's variable; the environment wins over `.env`."""

    read_dotenv: bool = False
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def get(self, name: str) -> str | None:
        """Return the secret, or None when the variable is unset or empty."""
        variable = variable_of(name)
        value = self.environ.get(variable)
        if value is None and self.read_dotenv:
            value = dotenv_values(".env").get(variable)
        return value or None
