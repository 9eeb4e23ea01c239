"""`manna audit`: the proof that the record is whole."""

from typing import Annotated

import typer

from cli.output import print_json
from cli.session import run
from core.audit.sink import verify_chain

app = typer.Typer(no_args_is_help=True, help="The audit chain.")


@app.callback()
def group() -> None:
    """Hold the commands below one name."""


@app.command("verify")
def verify(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Walk along the whole chain; exit code 1 if a link does not hold. Example: manna audit verify."""
    found = run(lambda resources: verify_chain(resources.database))
    if as_json:
        print_json({"events": found.events, "head": found.head.hash.hex(), "problem": found.problem})
    else:
        typer.echo(found.problem or f"{found.events} events, every link holds, head {found.head.hash.hex()[:16]}")
    if found.problem:
        raise typer.Exit(1)
