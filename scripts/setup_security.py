"""Sets an installation's secrets up: `python -m scripts.setup_security --environment development|production`.

Makes what is missing and leaves alone what is there, so that it may be run again at any time. Development gets a
`.env`; production a directory of one file a secret, for SECRETS_PROVIDER=file. Every file has mode 0600 and appears
whole or not at all. No key is printed unless --show-keys asks for it.

Example: python -m scripts.setup_security --environment production --directory /etc/manna/secrets
"""

import argparse
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dotenv import dotenv_values

from core.encryption import EncryptionKeyProvider
from core.errors import ConfigurationError, MannaError
from core.secrets.file import read_secret_file
from core.secrets.names import SecretName, variable_of
from core.secrets.strength import weakness
from core.settings import Environment

DIRECTORY = Path("/etc/manna/secrets")
MAKERS: Mapping[SecretName, Callable[[], str]] = {
    SecretName.ENCRYPTION_KEY: EncryptionKeyProvider.generate_key,
    SecretName.AUDIT_SIGNING_KEY: EncryptionKeyProvider.generate_key,
    SecretName.AUDIT_ALERT_WEBHOOK_SECRET: lambda: secrets.token_urlsafe(32),
    SecretName.JWT_SIGNING_KEY: lambda: secrets.token_urlsafe(48),
    SecretName.DATABASE_PASSWORD: lambda: secrets.token_urlsafe(24),
}
# Ours cannot be made here: Plaid gives it.
GIVEN = {SecretName.PLAID_SECRET: "from Plaid's dashboard"}
HEADER = "# Made by scripts.setup_security for development. Never commit it.\n"


class Store:
    """Where secrets are kept; `kept` are those that were there before."""

    def __init__(self, place: Path, kept: Mapping[str, str]) -> None:
        self.place = place
        self.kept = kept

    def add(self, made: Mapping[SecretName, str]) -> None:
        """Write what was made, each file whole."""
        raise NotImplementedError


class DotenvStore(Store):
    """One `.env` file; lines that are there stay as they are."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, {name: value for name, value in dotenv_values(path).items() if value})

    def add(self, made: Mapping[SecretName, str]) -> None:
        """Append the lines."""
        before = self.place.read_text(encoding="utf-8") if self.place.exists() else HEADER
        if before and not before.endswith("\n"):
            before += "\n"
        lines = [f"{variable_of(name)}={value}\n" for name, value in made.items()]
        if "MANNA_ENVIRONMENT" not in self.kept:
            lines.insert(0, "MANNA_ENVIRONMENT=development\n")
        write_closed(self.place, before + "".join(lines))


class DirectoryStore(Store):
    """One file a secret, in a directory that is closed to others."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        found = {name: directory / name for name in SecretName if (directory / name).is_file()}
        for path in found.values():
            path.chmod(0o600)
        kept = {variable_of(name): read_secret_file(name, path) or "" for name, path in found.items()}
        super().__init__(directory, {name: value for name, value in kept.items() if value})

    def add(self, made: Mapping[SecretName, str]) -> None:
        """Write the files."""
        for name, value in made.items():
            write_closed(self.place / name, f"{value}\n")


def write_closed(path: Path, content: str) -> None:
    """Replace a file by one of mode 0600 in one step: a reader sees the old text or the new, never half of it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def set_up(store: Store) -> dict[SecretName, str]:
    """Make what is missing, write it, and return it.

    Raises:
        ConfigurationError: a secret that is there is weak; it is not replaced, for that would lose what it sealed.
    """
    for name in SecretName:
        kept = store.kept.get(variable_of(name))
        if kept and (reason := weakness(name, kept)) and name in MAKERS:
            place = store.place
            raise ConfigurationError(f"{variable_of(name)} in {place} {reason}; rotate it, it is not replaced here")
    made = {name: make() for name, make in MAKERS.items() if variable_of(name) not in store.kept}
    if made or not store.kept:
        store.add(made)
    return made


def tell(store: Store, made: Mapping[SecretName, str], *, show_keys: bool) -> None:
    """Print what was done and what is left to do."""
    for name in MAKERS:
        state = "made" if name in made else "kept"
        print(f"{state}  {variable_of(name)}{'=' + made[name] if show_keys and name in made else ''}")
    for name, source in GIVEN.items():
        if variable_of(name) not in store.kept:
            target = f"{store.place / name}" if store.place.is_dir() else f"{store.place} as {variable_of(name)}"
            print(f"left  {variable_of(name)}: {source}, into {target}")
    if store.place.is_dir():
        print(f"Then set MANNA_ENVIRONMENT=production SECRETS_PROVIDER=file SECRETS_DIRECTORY={store.place}")
        print("and run `manna security setup-database`, `alembic upgrade head`, `python -m scripts.validate_security`.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Set up what is asked for and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="setup_security", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    choices = [Environment.DEVELOPMENT.value, Environment.PRODUCTION.value]
    parser.add_argument("--environment", choices=choices, required=True)
    parser.add_argument("--directory", type=Path, help=f"where secrets or .env go (production: {DIRECTORY})")
    parser.add_argument("--show-keys", action="store_true", help="print what was made")
    given = parser.parse_args(arguments)
    try:
        if given.environment == Environment.PRODUCTION:
            store: Store = DirectoryStore(given.directory or DIRECTORY)
        else:
            store = DotenvStore((given.directory or Path()) / ".env")
        tell(store, set_up(store), show_keys=given.show_keys)
    except (MannaError, OSError) as error:
        sys.stderr.write(f"setup_security: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
