"""Runs the console blocks of a page as a reader would: one shell, top to bottom, what is printed compared.

A block is fenced as ```console. A line with `$ ` begins a command, `> ` continues it, the rest is what it prints. In
that, `…` stands for any text within a line, and `...` for any lines. A command has to end with 0.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
MARK = "--- end of command, code"
NO_WORDS: Mapping[str, str] = {}


@dataclass
class Step:
    """A command and the lines that it is to print."""

    command: str
    printed: list[str] = field(default_factory=list)

    @property
    def pattern(self) -> str:
        """What its output has to match."""
        lines = "".join(
            ".*" if line == "..." else re.escape(line).replace("…", "[^\n]*") + "\n" for line in self.printed
        )
        return rf"(?s){lines}\Z" if "..." in self.printed else rf"{lines}\Z"


def steps(page: str) -> Iterator[Step]:
    """Yield a page's commands in order."""
    for block in FENCE.findall(page):
        found: list[Step] = []
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Step(line[2:]))
            elif line.startswith("> "):
                found[-1].command += f"\n{line[2:]}"
            else:
                found[-1].printed.append(line)
        yield from found


def filled(text: str, words: Mapping[str, str]) -> str:
    """Put in what a reader fills in: an id for `RUN_ID`, their own address for the example's."""
    # In one go: what is put in may hold another's name.
    return re.sub("|".join(map(re.escape, words)), lambda found: words[found[0]], text) if words else text


def whole_lines(output: str) -> str:
    """End what was printed with a line's end, as it looks on a terminal whose prompt follows."""
    return output + "\n" if output and not output.endswith("\n") else output


def differences(
    page: str, folder: Path, environment: Mapping[str, str], words: Mapping[str, str] = NO_WORDS
) -> list[str]:
    """Run a page's commands in a folder and return what was not as the page says."""
    told = list(steps(filled(page, words)))
    script = "\n".join(f'{step.command}\necho "{MARK} $?"' for step in told)
    done = subprocess.run(
        ["bash", "-s"], input=script, cwd=folder, env=dict(environment), text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    parts = re.split(rf"{MARK} (\d+)\n", done.stdout)
    outputs, codes = parts[0:-1:2], parts[1::2]
    if len(codes) != len(told):
        return [f"the shell ended early: {done.stdout[-500:]}"]
    return [
        f"$ {step.command}\nended with {code} and printed\n{output}"
        for step, output, code in zip(told, outputs, codes, strict=True)
        if code != "0" or not re.match(step.pattern, whole_lines(output))
    ]
