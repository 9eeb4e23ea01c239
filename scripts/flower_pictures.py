"""Take the documentation's pictures of Flower anew, from a small stack at work.

Run as `python -m scripts.flower_pictures docs/images`; needs Chromium, as the console's tests do.
"""

import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from devstack.stack import Stack, link_items, open_stack

CHROMIUM = "/usr/bin/chromium"
ITEMS, TRANSACTIONS = 12, 40
WIDTH, HEIGHT = 1280, 560


def main() -> None:
    """Start the stack, let it sync, and look at it."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    with open_stack(with_flower=True) as stack, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        link_items(stack, ITEMS, TRANSACTIONS)
        _picture(page, stack, "/workers", "sync@", folder / "flower-workers.png")
        _picture(page, stack, "/tasks", "SUCCESS", folder / "flower-tasks.png")
        browser.close()


def _picture(page: Page, stack: Stack, path: str, word: str, file: Path) -> None:
    """Take a page's picture once it shows a word."""
    page.goto(f"{stack.flower_url}{path}")
    page.get_by_text(word).first.wait_for()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=str(file))


if __name__ == "__main__":
    main()
