"""Secrets from files: `*_FILE` variables, systemd's credentials, and Docker's or Kubernetes' directory."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import ConfigurationError
from core.secrets.names import variable_of

SECRETS_DIRECTORY = Path("/run/secrets")


@dataclass(frozen=True, slots=True)
class FileProvider:
    """Reads a secret's file anew at each call, so that a rotated file counts at once; a last line feed is cut."""

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def get(self, name: str) -> str | None:
        """Return the secret, or None when no file of it exists.

        Raises:
            ConfigurationError: a file that was named on purpose cannot be read.
        """
        variable = f"{variable_of(name)}_FILE"
        if named := self.environ.get(variable):
            return self._read_named(variable, Path(named))
        named_directories = (self.environ.get("CREDENTIALS_DIRECTORY"), self.environ.get("SECRETS_DIRECTORY"))
        for directory in (*named_directories, SECRETS_DIRECTORY):
            if not directory:
                continue
            path = Path(directory) / name
            if path.is_file():
                return self._read_named(name, path)
        return None

    def _read_named(self, source: str, path: Path) -> str | None:
        try:
            return path.read_text(encoding="utf-8").rstrip("\r\n") or None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{source} names {path}, which cannot be read as text") from error
