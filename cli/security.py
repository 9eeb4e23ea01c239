"""`manna security`: secrets, roles of the database, and the checks."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from core.database import Database, open_database, wait_for_database
from core.database_roles import Roles, create_roles, give_to_owner, grant, set_password
from core.errors import ConfigurationError
from core.secrets import secrets_manager
from core.secrets.file import read_secret_file
from core.secrets.names import SecretName
from core.secrets.strength import weakness
from core.settings import Environment, load_settings
from scripts import setup_security, validate_security

app = typer.Typer(no_args_is_help=True, help="Secrets, the database's roles, and the checks.")

PasswordFile = Annotated[
    Path | None, typer.Option(help="A file with the role's new password; without one it keeps its own.")
]


@app.command("setup")
def setup(
    environment: Annotated[Environment, typer.Option(help="development: a .env; production: a directory of files.")],
    directory: Annotated[Path | None, typer.Option(help="Where the secrets, or .env, go.")] = None,
    *,
    show_keys: Annotated[bool, typer.Option("--show-keys", help="Print what was made.")] = False,
) -> None:
    """Make the secrets that are missing. Example: manna security setup --environment development."""
    if environment is Environment.TEST:
        raise typer.BadParameter("accepted are development and production")
    arguments = ["--environment", environment.value]
    arguments += ["--directory", str(directory)] if directory else []
    arguments += ["--show-keys"] if show_keys else []
    raise typer.Exit(setup_security.main(arguments))


@app.command("validate")
def validate(
    environment: Annotated[Environment | None, typer.Option(help="Judge as this environment.")] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print every finding as JSON.")] = False,
) -> None:
    """Check the installation's security. Example: manna security validate --environment production."""
    arguments = ["--environment", environment.value] if environment else []
    raise typer.Exit(validate_security.main([*arguments, *(["--json"] if as_json else [])]))


@app.command("setup-database")
def setup_database(
    prefix: Annotated[str, typer.Option(help="What the roles' names begin with.")] = Roles().prefix,
    owner_password_file: PasswordFile = None,
    writer_password_file: PasswordFile = None,
    reader_password_file: PasswordFile = None,
) -> None:
    """Make owner, writer and reader with exactly their rights; DATABASE_URL has to log in as an administrator.

    May be run again. Example: manna security setup-database --writer-password-file /etc/manna/secrets/database_password
    """
    roles = Roles(prefix)
    files = {roles.owner: owner_password_file, roles.writer: writer_password_file, roles.reader: reader_password_file}
    passwords = {role: _password(path) for role, path in files.items() if path}
    asyncio.run(_set_up(roles, passwords))
    for role in files:
        typer.echo(f"{role}: rights granted{', password set' if role in passwords else ''}")


def _password(path: Path) -> str:
    password = read_secret_file("the option", path) or ""
    if reason := weakness(SecretName.DATABASE_PASSWORD, password):
        raise ConfigurationError(f"the password in {path} {reason}")
    return password


async def _set_up(roles: Roles, passwords: dict[str, str]) -> None:
    settings = load_settings()
    database = open_database(settings, secrets_manager.get_database_url())
    try:
        await wait_for_database(database, settings)
        await _apply(database, roles, passwords)
    finally:
        await database.close()


async def _apply(database: Database, roles: Roles, passwords: dict[str, str]) -> None:
    async with database.connection() as connection:
        await create_roles(connection, roles)
        await give_to_owner(connection, roles)
        await grant(connection, roles)
        for role, password in passwords.items():
            await set_password(connection, role, password)
