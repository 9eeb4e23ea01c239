"""Secrets from files: `*_FILE` variables, systemd's credentials, and Docker's or Kubernetes' directory."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import ConfigurationError
from core.secrets.names import variable_of

SECRETS_DIRECTORY = Path("/run/secrets")
OTHERS = stat.S_IROTH | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class FileProvider:
    """Reads a secret's file anew at each call, so that a rotated file counts at once; a last line feed is cut.

    `strict`, as in production, refuses a file that every user of the machine may read or write.
    """

    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    strict: bool = False

    def get(self, name: str) -> str | None:
        """Return the secret, or None when no file of it exists.

        Raises:
            ConfigurationError: a file that was named on purpose cannot be read, or others can read it.
        """
        found = self.place_of(name)
        return read_secret_file(*found, strict=self.strict) if found else None

    def place_of(self, name: str) -> tuple[str, Path] | None:
        """Return what names the secret's file, and the file; None when no file of it exists."""
        variable = f"{variable_of(name)}_FILE"
        if named := self.environ.get(variable):
            return variable, Path(named)
        named_directories = (self.environ.get("CREDENTIALS_DIRECTORY"), self.environ.get("SECRETS_DIRECTORY"))
        for directory in (*named_directories, SECRETS_DIRECTORY):
            if directory and (path := Path(directory) / name).is_file():
                return name, path
        return None


def read_secret_file(source: str, path: Path, *, strict: bool = False) -> str | None:
    """Return the text of a file without its last line feed, or None when it is empty.

    Raises:
        ConfigurationError: it cannot be read as text, or, when `strict`, others can read it.
    """
    try:
        mode = path.stat().st_mode
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{source} names {path}, which cannot be read as text") from error
    # Directories that others cannot enter protect as well: Kubernetes and Docker mount 0444 files in their own tmpfs.
    if strict and mode & OTHERS and not _is_enclosed(path):
        raise ConfigurationError(f"{source} names {path}, which every user may read; accepted is chmod 600")
    return content.rstrip("\r\n") or None


def _is_enclosed(path: Path) -> bool:
    if path.is_relative_to(SECRETS_DIRECTORY):
        return True
    return any(not parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)
