"""Holds the shape: modules of at most 400 lines, functions of at most 40, nesting of at most 3.

Run as `python -m scripts.check_shape [DIRECTORY…]`; prints each trespass as `path:line: what` and ends with 1.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("benchmarks", "cli", "core", "devstack", "scripts", "simulator", "tasks", "web", "worker")
MODULE_LINES = 400
FUNCTION_LINES = 40
NESTING = 3
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def trespasses(path: Path) -> Iterator[str]:
    """Yield what is too long or too deep in a module."""
    source = path.read_text(encoding="utf-8")
    if (lines := len(source.splitlines())) > MODULE_LINES:
        yield f"{path}:1: {lines} lines, at most {MODULE_LINES}"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, FUNCTIONS):
            yield from _in_function(path, node)


def _in_function(path: Path, function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if lines > FUNCTION_LINES:
        yield f"{path}:{function.lineno}: {function.name} has {lines} lines, at most {FUNCTION_LINES}"
    if (depth := max(map(_depth, function.body), default=0)) > NESTING:
        yield f"{path}:{function.lineno}: {function.name} nests {depth} deep, at most {NESTING}"


def _depth(node: ast.AST) -> int:
    if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        return 0
    own = 1 if isinstance(node, BLOCKS) else 0
    # `elif` is an `if` in the `else` of the one before it, which no reader sees as deeper.
    chained = node.orelse if isinstance(node, ast.If) and len(node.orelse) == 1 else []
    inner = [_depth(child) for child in ast.iter_child_nodes(node) if child not in chained]
    return max([own + max(inner, default=0), *(_depth(child) for child in chained if isinstance(child, ast.If))])


def main(directories: list[str]) -> int:
    """Print every trespass and return the exit code."""
    found = [
        line for directory in directories for path in sorted(Path(directory).rglob("*.py")) for line in trespasses(path)
    ]
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(PACKAGES)))
