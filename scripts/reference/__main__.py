"""Writes the reference pages from the code: `python -m scripts.reference`, or `make reference` for all of them."""

from pathlib import Path

from scripts.reference import commands, errors, messages, routes, tables

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
PAGES = (commands, errors, messages, routes, tables)


def main() -> None:
    """Write every page."""
    for module in PAGES:
        (FOLDER / module.NAME).write_text(module.page(), "utf-8")
        print(f"wrote {module.NAME}")


if __name__ == "__main__":
    main()
