"""The command line's root: exit code 0 done, 1 failed, 2 usage; an error is one line."""

import sys
from typing import Annotated

import typer

from cli import audit, doctor, items, keys, processes, security, stack, syncs, tokens
from cli.failures import told_in_one_line
from core.errors import MannaError
from core.version import VERSION

app = typer.Typer(name="manna", no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(items.app, name="items")
app.add_typer(syncs.app, name="syncs")
app.add_typer(audit.app, name="audit")
app.add_typer(keys.app, name="keys")
app.add_typer(security.app, name="security")
app.add_typer(tokens.app, name="tokens")
app.command("doctor")(doctor.doctor)
app.command("web")(processes.web)
app.command("demo")(stack.demo)
app.command("up")(stack.up)


def _tell_version(asked: bool) -> None:  # noqa: FBT001 - Typer calls it so
    if asked:
        typer.echo(f"manna-sync {VERSION}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Bank sync that loses nothing."""


def main() -> None:
    """Run a command and end the process with its code; what goes wrong is told in one line on standard error."""
    with told_in_one_line():
        # Exit and Ctrl-C come back as a code; a command that asked and was refused raises.
        try:
            code = app(prog_name="manna", standalone_mode=False)
        except typer.Abort:
            raise MannaError("not confirmed; nothing was done") from None
    sys.exit(code or 0)


if __name__ == "__main__":
    main()
