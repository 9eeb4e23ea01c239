"""Writes the reference pages from the code: `python -m scripts.reference`, or `make reference` for all of them."""

from pathlib import Path

from scripts.reference import capacity, commands, errors, messages, routes, surface, tables

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
PAGES = (capacity, commands, errors, messages, routes, surface, tables)


def main() -> None:
    """Write every page."""
    for module in PAGES:
        (FOLDER / module.NAME).write_text(module.page(), "utf-8")
        print(f"wrote {Path(module.NAME).name}")


if __name__ == "__main__":
    main()
