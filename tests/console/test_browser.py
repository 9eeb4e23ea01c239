"""An operator's walk through the console in a real browser, and what axe-core says of every page on the way.

With SCREENSHOTS=FOLDER every page is pictured there on every screen; the documentation shows some of them.
"""

import os
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import async_playwright, expect

from core.audit.proof import prove_chain
from core.audit.sink import seal_outbox
from core.items.reconciliation import reconcile_and_record
from core.items.registration import NewItem
from core.models import SyncTrigger
from core.settings import load_settings
from core.sync.replay import advance
from tests.console.conftest import register, resources_of, rows
from tests.console.fleet import FAILING, populate, settle
from tests.simulator import conftest as simulators
from tests.web.conftest import opened
from tests.web.test_server import served
from web.server import DeadlineProtocol

pytestmark = [pytest.mark.extras("chromium"), pytest.mark.timeout(300)]

api, server, simulator = simulators.api, simulators.server, simulators.simulator
CHROMIUM = "/usr/bin/chromium"
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
SCREENS = {"light": (1280, 900), "dark": (1280, 900), "narrow": (390, 844)}
# Of the other screens the pages that differ most: colours and widths are the same everywhere. Pictures: all.
EVERYWHERE = ("overview", "item", "runs", "replay")
PATIENCE_MS = 30_000
# Names as long as any may be: nothing of Plaid's or ours bounds them but the column.
UNSYNCED = NewItem(
    "customer-" + "a-long-name-" * 12, "item-" + "BxBXxLj1m4HMXBm9WZZmCWVbPjX16EHwv99vp" * 3, "access-1", "ins_1"
)


@pytest.fixture
async def site(web_settings, simulator, monkeypatch):
    """The application on a socket, with a fleet, and the simulator as Plaid."""
    monkeypatch.setenv("PLAID_BASE_URL", simulator.url)
    async with opened(load_settings()) as client:
        # The simulator lives longer than a test: another fleet's faults would strike this one's banks.
        simulator.control("faults/clear")
        client.ids, client.faults = await populate(client, simulator)
        async with served(DeadlineProtocol, client.app) as (host, port):
            client.address = f"http://{host}:{port}"
            yield client


@asynccontextmanager
async def browser_page(**given):
    """Open a page whose console and requests must stay without an error."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context(**given)
        page = await context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.said = []
        page.on("console", lambda message: page.said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: page.said.append(str(error)))
        try:
            yield page
        finally:
            await browser.close()


async def log_in(page, site, token):
    await page.goto(f"{site.address}/console")
    await page.get_by_label("API token").fill(token)
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()


async def test_an_operator_finds_the_failing_bank_replays_it_and_watches_it_succeed(site, simulator, token_for):
    async with browser_page() as page:
        await log_in(page, site, token_for(subject="alice"))
        failing = page.get_by_role("region", name="Failing now")
        row = failing.get_by_role("row").filter(has_text="INSTITUTION_REGISTRATION_REQUIRED")
        await expect(row).to_contain_text(f"{len(site.ids[FAILING])}")
        await row.get_by_role("link", name=FAILING).click()
        await expect(page.get_by_role("row")).to_have_count(1 + len(site.ids[FAILING]))

        # One of them, by keyboard alone.
        await page.get_by_role("row").nth(1).get_by_role("link").focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("Our Plaid account may not use this bank yet")).to_be_visible()
        await page.get_by_role("button", name="Sync now").click()
        await expect(page.get_by_role("status").first).to_contain_text("The sync is on its way")

        # We are registered with the bank now: what still fails is looked at dry, then replayed.
        simulator.control("faults/clear", fault_ids=site.faults[:1])
        await page.get_by_role("link", name="Runs", exact=True).click()
        await page.get_by_label("Institution").fill(FAILING)
        await page.get_by_role("button", name="Search").click()
        await page.get_by_role("link", name="Replay what still fails of these").click()
        await expect(page.get_by_role("heading", name=f"{len(site.ids[FAILING])} Items would be")).to_be_visible()
        await page.get_by_role("button", name=f"Replay {len(site.ids[FAILING])} Items").click()
        await expect(page.get_by_text("0 of 7 done")).to_be_visible()
        await look(page, "progress", "light")

        # Beat's and the worker's part; the page brings itself up to date.
        resources = resources_of(site)
        await rows(site, "UPDATE replays SET paced_at = now() - interval '1 minute'")
        assert await advance(resources) == len(site.ids[FAILING])
        await settle(site, site.ids[FAILING], SyncTrigger.REPLAY)
        await advance(resources)
        await expect(page.get_by_text("7 of 7 done")).to_be_visible()
        assert page.said == []
    assert await rows(
        site, "SELECT count(*) AS n FROM plaid_items WHERE error_code = 'INSTITUTION_REGISTRATION_REQUIRED'"
    ) == [{"n": 0}]
    asked = await rows(
        site, "SELECT DISTINCT event_type, actor FROM audit_outbox WHERE event_type ~ '^operator:.*requested$'"
    )
    assert {tuple(one.values()) for one in asked} == {
        ("operator:sync:requested", "token:alice"),
        ("operator:replay:requested", "token:alice"),
    }


async def test_axe_finds_nothing_and_every_page_fits_its_screen(site, simulator, token_for):
    resources, item_id, compared = resources_of(site), site.ids[FAILING][0], site.ids["ins_109508"][0]
    simulator.control("faults/clear", fault_ids=site.faults[:1])
    (unsynced,) = await register(site, UNSYNCED)
    await reconcile_and_record(resources, compared, "token:alice", repair=False)
    await prove_chain(resources.settings, resources.database, "token:alice")
    await seal_outbox(resources.database)
    (failed,) = await rows(
        site, "SELECT id FROM sync_runs WHERE item_id = :id AND status = 'failed' LIMIT 1", id=item_id
    )
    paths = {
        "overview": "/console",
        "items": "/console/items",
        "item": f"/console/items/{item_id}",
        "unsynced": f"/console/items/{unsynced}",
        "none": "/console/items?text=nobody",
        "runs": "/console/runs",
        "run": f"/console/runs/{failed['id']}",
        "replay": "/console/replays/new?error_code=INSTITUTION_REGISTRATION_REQUIRED",
        "recorded": "/console/replays/new?error_code=INSTITUTION_REGISTRATION_REQUIRED&from_journal=true",
        "replays": "/console/replays",
        "audit": "/console/audit",
        "missing": "/console/nothing",
    }
    for screen, (width, height) in SCREENS.items():
        viewport = {"width": width, "height": height}
        scheme = "dark" if screen == "dark" else "light"
        async with browser_page(viewport=viewport, color_scheme=scheme) as page:
            await page.goto(f"{site.address}/console/login")
            await look(page, "login", screen)
            await log_in(page, site, token_for(subject="alice"))
            for name in paths if screen == "light" or "SCREENSHOTS" in os.environ else EVERYWHERE:
                await page.goto(site.address + paths[name])
                await look(page, name, screen)
            if screen == "light":
                await page.goto(f"{site.address}/console/items/{compared}")
                await expect(page.get_by_text("0 of 30 transactions differed")).to_be_visible()
            await page.context.clear_cookies()
            await log_in(page, site, token_for("items:read", subject="junior"))
            await page.goto(f"{site.address}/console/audit")
            await look(page, "forbidden", screen)


async def look(page, name, screen):
    """Have axe look at a page, and take its picture if pictures are wanted."""
    found = await Axe().run(page, options=RULES)
    assert found.violations_count == 0, f"{name}, {screen}: {found.generate_report()}"
    too_wide = await page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    assert not too_wide, f"{name} has to be scrolled sideways on a {screen} screen"
    if pictures := os.environ.get("SCREENSHOTS"):
        await page.screenshot(path=str(Path(pictures) / f"console-{name}-{screen}.png"))


async def test_pages_are_read_without_a_script(site, token_for):
    async with browser_page(java_script_enabled=False) as page:
        await log_in(page, site, token_for())
        await expect(page.get_by_role("img", name="Freshness of Items")).to_be_visible()
        await page.get_by_text("The figures as a table").first.click()
        await expect(page.get_by_role("rowheader", name="never")).to_be_visible()
        await page.get_by_role("link", name="Audit log").click()
        await page.get_by_role("button", name="Log out").click()
        await expect(page.get_by_text("You are logged out.")).to_be_visible()
