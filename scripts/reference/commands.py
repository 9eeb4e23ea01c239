"""The page of the command line, from Typer's own description of it."""

from collections.abc import Iterator
from enum import EnumType

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from cli.main import app

NAME = "command-line.md"
HEAD = """# Command line

Written from the code by `python -m scripts.reference`; a test holds it to the code.

`manna` ends with 0 when it is done, 1 when something failed, 2 when it was called wrongly. An error is one line on
standard error. `--help` after any command says what stands here, `manna --version` which version runs.
"""


def page() -> str:
    """Return the page's text."""
    root = typer.main.get_command(app)
    return "\n".join([HEAD, *(line for path, command in _walk(root, "manna") for line in _told(path, command))])


def _walk(command: object, path: str) -> Iterator[tuple[str, TyperCommand]]:
    if isinstance(command, TyperGroup):
        for name, below in sorted(command.commands.items()):
            yield from _walk(below, f"{path} {name}")
    elif isinstance(command, TyperCommand):
        yield path, command


def _told(path: str, command: TyperCommand) -> Iterator[str]:
    meaning, example, more = _parts(command.help or "")
    arguments = [one for one in command.params if isinstance(one, TyperArgument)]
    options = [one for one in command.params if isinstance(one, TyperOption) and not one.hidden]
    words = [path, *(_placeholder(one) for one in arguments), *(["[OPTIONS]"] if options else [])]
    yield f"## {path}\n\n{meaning.strip()}\n\n```sh\n{' '.join(words)}"
    if example:
        yield f"{example}    # for example"
    yield "```\n"
    if more:
        yield f"{more}\n"
    yield from _table(options)


def _parts(told: str) -> tuple[str, str, str]:
    """Return what a command does, its example, and the paragraphs after that."""
    before, _, after = told.partition("Example: ")
    example, _, more = after.partition("\n\n")
    meaning, example, more = (" ".join(part.split()) for part in (before, example, more))
    return meaning, example.rstrip("."), more


def _placeholder(argument: TyperArgument) -> str:
    name = (argument.name or "").upper() + ("…" if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _table(options: list[TyperOption]) -> Iterator[str]:
    if not options:
        return
    yield "| option | meaning |\n|---|---|"
    for option in options:
        names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
        yield f"| {names} | {_meaning(option)} |"
    yield ""


def _meaning(option: TyperOption) -> str:
    told = [(option.help or "").rstrip(".")]
    annotation = option.type_descriptor.annotation
    if isinstance(annotation, EnumType):
        words: list[object] = list(annotation)
        told.append("accepted: " + ", ".join(f"`{_word(one)}`" for one in words))
    if option.required:
        told.append("required")
    elif option.default not in {None, False, ""} and not callable(option.default) and option.default != ():
        told.append(f"default `{_word(option.default)}`")
    return "; ".join(one for one in told if one).replace("|", "\\|")


def _word(value: object) -> object:
    return getattr(value, "value", value)
