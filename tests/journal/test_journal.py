"""The page journal: what was fetched and not committed is committed later, and never behind what is newer."""

import os
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from core.encryption import EncryptionKeyProvider
from core.encryption.cipher import context_of
from core.encryption.keyring import current_keyring
from core.errors import InstitutionIsDownError, NotFoundError, PagesNotReplayableError, RestartFromEmptyCursorError
from core.identity import new_id
from core.items.removal import remove_item
from core.models import RunStatus
from core.resources import open_resources
from core.rotation.promotion import KeyInUseError, destroy, promote
from core.rotation.reencrypt import reencrypt
from core.settings import load_settings
from core.sync.journal_retention import JournalDay, prune_journal, to_drop
from tests.integration.plaid_script import page, transaction

TWO_PAGES = (
    page([transaction("a"), transaction("b", name="CAFÉ ☕")], next_cursor="m1", has_more=True),
    page([transaction("c")], removed=["b"], next_cursor="f1"),
)


async def kept(fleet):
    return await fleet.all("SELECT run_id, page FROM journal_pages ORDER BY 1, 2")


async def test_a_run_that_failed_after_its_pages_is_applied_without_plaid(fleet):
    (item_id,) = await fleet.add(1)
    run_id = await fleet.lose_commit(item_id, *TWO_PAGES)
    assert await fleet.standing() == []
    assert await kept(fleet) == [(run_id, number) for number in range(3)]

    assert (await fleet.apply(run_id)).status is RunStatus.SUCCEEDED
    assert await fleet.standing() == ["a", "c"]
    assert await fleet.all("SELECT cursor, version, status, next_sync_at <= now() FROM plaid_items") == [
        ("f1", 1, "active", True)
    ]
    runs = "SELECT trigger, status, pages, added, removed, committed_version FROM sync_runs ORDER BY started_at DESC"
    assert (await fleet.all(runs))[0] == ("replay", "succeeded", 2, 3, 1, 1)
    opened = "SELECT context ->> 'run_id' FROM audit_outbox WHERE event_type = 'plaid:pages:replayed'"
    assert await fleet.all(opened) == [(str(run_id),)]


async def test_applied_twice_it_counts_once(fleet):
    (item_id,) = await fleet.add(1)
    run_id = await fleet.lose_commit(item_id, *TWO_PAGES)
    await fleet.apply(run_id)
    with pytest.raises(PagesNotReplayableError, match="version 0 then, 1 now"):
        await fleet.apply(run_id)
    assert await fleet.all("SELECT count(*) FROM sync_runs") == [(2,)]


async def test_pages_never_go_back_behind_newer_data(fleet):
    (item_id,) = await fleet.add(1)
    run_id = await fleet.lose_commit(item_id, *TWO_PAGES)
    await fleet.sync(item_id, page([transaction("c", amount=1), transaction("z")], next_cursor="f9"))
    with pytest.raises(PagesNotReplayableError, match="would take it back; replay it without the journal"):
        await fleet.apply(run_id)
    assert await fleet.standing() == ["c", "z"]
    assert await fleet.all("SELECT cursor, version FROM plaid_items") == [("f9", 1)]


async def test_a_full_pull_is_applied_as_one(fleet):
    (item_id,) = await fleet.add(1)
    await fleet.sync(item_id, page([transaction("old"), transaction("a")], next_cursor="c1"))
    refused = RestartFromEmptyCursorError("INVALID_FIELD", error_type="INVALID_REQUEST")
    run_id = await fleet.lose_commit(item_id, refused, page([transaction("a")], next_cursor="c2"))
    await fleet.apply(run_id)
    assert await fleet.standing() == ["a"]
    assert (await fleet.all("SELECT full_pull FROM sync_runs WHERE trigger = 'replay'")) == [(True,)]


async def test_what_was_rejected_at_first_is_quarantined_at_last(fleet):
    (item_id,) = await fleet.add(1)
    run_id = await fleet.lose_commit(item_id, page([transaction("a"), transaction("bad", amount="much")]))
    assert await fleet.all("SELECT count(*) FROM quarantined_transactions") == [(0,)]
    await fleet.apply(run_id)
    assert await fleet.all("SELECT transaction_id FROM quarantined_transactions") == [("bad",)]


@pytest.mark.parametrize("what", ["no such run", "succeeded", "failed early", "off", "pruned", "removed"])
async def test_what_cannot_be_applied_says_why(fleet, what):
    (item_id,) = await fleet.add(1)
    run_id = new_id()
    if what == "succeeded":
        await fleet.sync(item_id, *TWO_PAGES)
        ((run_id,),) = await fleet.all("SELECT id FROM sync_runs")
    elif what == "failed early":
        await fleet.fail([item_id])
        ((run_id,),) = await fleet.all("SELECT id FROM sync_runs")
    elif what in {"pruned", "removed"}:
        run_id = await fleet.lose_commit(item_id, *TWO_PAGES)
        if what == "pruned":
            await prune_journal(load_settings(page_journal_days=0), fleet.resources.database)
        else:
            await remove_item(fleet.resources, item_id, "operator:jo")
    elif what == "off":
        fleet.resources = replace(fleet.resources, settings=load_settings(page_journal_days=0))
        run_id = await fleet.lose_commit(item_id, *TWO_PAGES)
    said = {"no such run": "there is no run", "succeeded": "did not fail", "removed": "nothing is kept of it"}
    with pytest.raises(
        (PagesNotReplayableError, NotFoundError), match=said.get(what, "no pages of the run .* are kept")
    ):
        await fleet.apply(run_id)
    assert await fleet.standing() == (["a", "c"] if what == "succeeded" else [])


async def test_nothing_of_an_update_can_be_read_in_the_database(fleet):
    (item_id,) = await fleet.add(1)
    run_id = await fleet.lose_commit(item_id, *TWO_PAGES)
    rows = await fleet.all("SELECT body FROM journal_pages ORDER BY page")
    # Words long enough that a ciphertext does not hold one by chance: "f1" alone did, once in a hundred runs.
    assert not any(word in body for (body,) in rows for word in (b"transaction_id", b"next_cursor", b"CAF\\u00c9"))
    for body in (bytes(rows[0][0]), bytes(rows[1][0])):
        assert body[:2] == b"\x01\x01"
        assert body[2:6].hex() == current_keyring().primary.key_id
    # The right place opens it, and none other: another table, Item, run, page or version does not.
    context = context_of("journal_pages", "body", item_id, run_id, 1, 0)
    assert b"CAF" in zlib.decompress(current_keyring().open_bytes(rows[1][0], context))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE journal_pages SET body = set_byte(body, 70, get_byte(body, 70) # 1) WHERE page = 1",
        "UPDATE journal_pages SET body = (SELECT body FROM journal_pages WHERE page = 1) WHERE page = 2",
        "DELETE FROM journal_pages WHERE page = 2",
    ],
)
async def test_a_page_that_was_tampered_with_is_not_applied(fleet, change):
    (item_id,) = await fleet.add(1)
    run_id = await fleet.lose_commit(item_id, *TWO_PAGES)
    await fleet.run(change)
    outcome = await fleet.apply(run_id)
    assert (outcome.status, outcome.error_code) == (RunStatus.FAILED, "JOURNAL_UNREADABLE")
    assert (await fleet.standing(), await fleet.all("SELECT version FROM plaid_items")) == ([], [(0,)])


async def test_pages_claimed_for_a_newer_version_do_not_open(fleet):
    (item_id,) = await fleet.add(1)
    run_id = await fleet.lose_commit(item_id, *TWO_PAGES)
    await fleet.sync(item_id, page([transaction("z")], next_cursor="f9"))
    await fleet.run("UPDATE journal_pages SET version = 1")
    assert (await fleet.apply(run_id)).error_code == "JOURNAL_UNREADABLE"
    assert await fleet.standing() == ["z"]


async def test_a_removed_items_pages_are_gone_at_once_and_none_come_after(fleet):
    item_ids = await fleet.add(2)
    for item_id in item_ids:
        await fleet.lose_commit(item_id, *TWO_PAGES)
    await remove_item(fleet.resources, item_ids[0], "operator:jo")
    assert await fleet.all("SELECT DISTINCT item_id FROM journal_pages") == [(item_ids[1],)]


async def test_a_sync_goes_on_where_the_journal_cannot_be_written(fleet):
    (item_id,) = await fleet.add(1)
    await fleet.run("ALTER TABLE journal_pages RENAME TO journal_pages_away")
    assert (await fleet.sync(item_id, *TWO_PAGES)).status is RunStatus.SUCCEEDED
    assert await fleet.standing() == ["a", "c"]


async def test_a_recorded_success_says_nothing_about_a_bank_that_is_down(fleet):
    item_id, *others = await fleet.add(4)
    run_id = await fleet.lose_commit(item_id, *TWO_PAGES)
    await fleet.fail(others, InstitutionIsDownError("INSTITUTION_DOWN", error_type="INSTITUTION_ERROR"))
    await fleet.apply(run_id)
    assert await fleet.all("SELECT state FROM circuit_breakers") == [("open",)]


async def test_a_key_is_not_destroyed_while_pages_are_under_it(fleet, monkeypatch, settings):
    (item_id,) = await fleet.add(1)
    run_id = await fleet.lose_commit(item_id, *TWO_PAGES)
    database, old = fleet.resources.database, current_keyring().primary.key_id
    monkeypatch.setenv("MANNA_ENCRYPTION_KEYS_PREVIOUS", os.environ["MANNA_ENCRYPTION_KEY"])
    monkeypatch.setenv("MANNA_ENCRYPTION_KEY", EncryptionKeyProvider.generate_key())
    await fleet.run("DELETE FROM keyring_reports")
    async with open_resources(load_settings()) as renewed:
        await fleet.run(
            "DELETE FROM keyring_reports WHERE primary_key_id = :old AND NOT :new = ANY(key_ids)",
            old=old,
            new=current_keyring().wanted,
        )
        await promote(database, settings, current_keyring().wanted, "operator:jo")
        await renewed.keyring.refresh()
        assert (await reencrypt(database)).complete
        with pytest.raises(KeyInUseError, match=f"3 pages of the journal are under the key {old}"):
            await destroy(database, settings, old, "operator:jo")
        fleet.resources = renewed
        assert (await fleet.apply(run_id)).status is RunStatus.SUCCEEDED
        await prune_journal(load_settings(page_journal_days=0), database)
        await destroy(database, settings, old, "operator:jo")


def test_days_are_dropped_when_past_and_the_oldest_when_too_much():
    today = datetime(2026, 5, 10, tzinfo=UTC).date()
    days = [JournalDay(today - timedelta(days=age), 100) for age in range(5, -1, -1)]

    def ages(kept_days, most):
        return [(today - day).days for day in to_drop(days, today, kept_days, most)]

    assert ages(3, 10_000) == [5, 4]
    assert ages(30, 10_000) == []
    assert ages(3, 250) == [5, 4, 3, 2]
    assert ages(3, 1) == [5, 4, 3, 2, 1]
    assert ages(0, 10_000) == [5, 4, 3, 2, 1, 0]


async def test_days_past_their_retention_are_dropped_whole_and_recorded(fleet):
    database, today = fleet.resources.database, datetime.now(UTC).date()
    for age in (9, 2):
        await fleet.run("SELECT ensure_journal_partition(CAST(:day AS date))", day=today - timedelta(days=age))
    assert await prune_journal(fleet.resources.settings, database) == [today - timedelta(days=9)]
    days = await fleet.all(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'journal_pages'::regclass"
    )
    expected = [f"journal_pages_{today - timedelta(days=age):%Y%m%d}" for age in (2, 0, -1)]
    assert sorted(name for (name,) in days) == expected
    told = "SELECT context ->> 'partition' FROM audit_outbox WHERE event_type = 'config:retention:applied'"
    assert await fleet.all(told) == [(f"journal_pages_{today - timedelta(days=9):%Y%m%d}",)]


async def test_a_day_that_takes_it_all_is_recorded_no_further(fleet):
    (item_id,) = await fleet.add(1)
    fleet.resources = replace(
        fleet.resources, settings=fleet.resources.settings.model_copy(update={"page_journal_max_mb": 0})
    )
    await fleet.lose_commit(item_id, *TWO_PAGES)
    assert await kept(fleet) == []


async def test_off_it_costs_no_statement_and_an_empty_update_neither(fleet):
    (item_id,) = await fleet.add(1)
    await fleet.sync(item_id, page(next_cursor="c1"))
    fleet.resources = replace(fleet.resources, settings=load_settings(page_journal_days=0))
    await fleet.sync(item_id, *TWO_PAGES)
    none = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'journal_pages'::regclass"
    assert await fleet.all(none) == [(0,)]
