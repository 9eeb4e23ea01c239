"""`manna keys`: field-encryption keys."""

import typer

from core.encryption import EncryptionKeyProvider

app = typer.Typer(no_args_is_help=True, help="Field-encryption keys.")


@app.callback()
def group() -> None:
    """Hold the commands below one name."""


@app.command("generate")
def generate() -> None:
    """Print a fresh key for MANNA_ENCRYPTION_KEY. Example: manna keys generate > key.txt."""
    typer.echo(EncryptionKeyProvider.generate_key())
