"""Breakers and the Item's own health, from the first failure to the release. Time is PostgreSQL's, and is moved."""

from core.errors import RetryLaterError
from core.models import RunStatus, SyncTrigger

FAILED, SUCCEEDED, SKIPPED = RunStatus.FAILED, RunStatus.SUCCEEDED, RunStatus.SKIPPED
SCHEDULED, WEBHOOK, MANUAL = SyncTrigger.SCHEDULED, SyncTrigger.WEBHOOK, SyncTrigger.MANUAL
BANK = "ins_109511"


async def make_due(world):
    await world.sql("UPDATE plaid_items SET next_sync_at = now() - interval '1 s' WHERE next_sync_at IS NOT NULL")


async def probe_is_due(world):
    await world.sql("UPDATE circuit_breakers SET probe_at = now() - interval '1 s'")


async def breakers(world):
    return dict(await world.sql("SELECT scope, state FROM circuit_breakers"))


async def fail_at_bank(world):
    fault = {"kind": "error", "error_code": "INSTITUTION_DOWN", "times": None, "institution_id": BANK}
    return (await world.control("faults", **fault))["fault_id"]


async def test_three_failures_of_an_institution_park_it_and_one_success_lets_it_go(world):
    items = await world.link(count=6, institution_id=BANK, transactions=5)
    (elsewhere,) = await world.link(institution_id="ins_109512", transactions=5)
    for item in items:
        await world.sync(item)
    fault = await fail_at_bank(world)
    for number, item in enumerate(items[:3], start=1):
        assert (await world.sync(item, SCHEDULED)).error_code == "INSTITUTION_DOWN"
        assert await breakers(world) == {f"institution:{BANK}": "open" if number == 3 else "counting"}
    # It was the bank's failure, and none of an Item.
    assert await world.sql("SELECT DISTINCT status, consecutive_failures FROM plaid_items") == [("active", 0)]

    await world.evolve(items[4], added=2)
    for trigger in (SCHEDULED, WEBHOOK):
        outcome = await world.sync(items[4], trigger)
        assert (outcome.status, outcome.error_code) == (SKIPPED, "HELD_BACK")
    await make_due(world)
    assert {item_id for item_id, _ in await world.tick()} == {elsewhere.id}
    parked = "SELECT count(*) FROM plaid_items WHERE parked_at IS NOT NULL AND next_sync_at > now() + interval '40 min'"
    assert await world.sql(parked) == [(6,)]

    # A probe that fails leaves it open, and the next one waits longer.
    await probe_is_due(world)
    ((probe, trigger),) = await world.tick()
    (probed,) = [item for item in items if item.id == probe]
    assert (await world.sync(probed, trigger)).error_code == "INSTITUTION_DOWN"
    assert await world.tick() == []

    await world.clear(fault)
    await probe_is_due(world)
    ((probe, trigger),) = await world.tick()
    (probed,) = [item for item in items if item.id == probe]
    assert (await world.sync(probed, trigger)).status is SUCCEEDED
    assert await breakers(world) == {f"institution:{BANK}": "releasing"}
    await world.tick()
    assert await breakers(world) == {}
    released = (
        "SELECT count(*), count(DISTINCT next_sync_at) FROM plaid_items WHERE parked_at IS NULL AND id <> :probe "
    )
    within = "AND next_sync_at < now() + interval '121 s' AND institution_id = :bank"
    assert await world.sql(released + within, probe=probe, bank=BANK) == [(5, 5)]
    await make_due(world)
    for item_id, trigger in await world.tick():
        await world.sync(next(item for item in [*items, elsewhere] if item.id == item_id), trigger)
    await world.check(*items, elsewhere)


async def test_a_success_between_the_failures_keeps_the_breaker_shut(world):
    items = await world.link(count=3, institution_id=BANK)
    for item in items:
        fault = await world.fault(item, "error", error_code="INSTITUTION_NOT_RESPONDING", times=None)
        await world.sync(item)
        await world.clear(fault)
        await world.sync(item)
        assert await breakers(world) == {}


async def test_a_breaker_that_opens_again_while_it_releases_begins_anew(world):
    items = await world.link(count=4, institution_id=BANK)
    opened = "SELECT count(*) FROM audit_outbox WHERE event_type = 'plaid:institution:parked'"
    for times in (1, 2):
        fault = await fail_at_bank(world)
        for item in items[:3]:
            await world.sync(item)
        assert await breakers(world) == {f"institution:{BANK}": "open"}
        assert await world.sql(opened) == [(times,)]
        await world.sql("UPDATE circuit_breakers SET opened_at = opened_at - interval '1 day' WHERE :t = 1", t=times)
        await world.clear(fault)
        await world.sync(items[3])
        assert await breakers(world) == {f"institution:{BANK}": "releasing"}


async def test_refused_keys_stop_everything_at_once_and_mark_nobody(world):
    items = await world.link(count=4, transactions=3)
    faults = [await world.fault(item, "error", error_code="INVALID_API_KEYS", times=None) for item in items]
    assert (await world.sync(items[0], SCHEDULED)).error_code == "INVALID_API_KEYS"
    assert await breakers(world) == {"plaid": "open"}
    for item in items[1:]:
        for trigger in (SCHEDULED, WEBHOOK):
            assert (await world.sync(item, trigger)).error_code == "HELD_BACK"
    assert await world.sql("SELECT DISTINCT status, consecutive_failures FROM plaid_items") == [("active", 0)]
    await make_due(world)
    assert await world.tick() == []
    await probe_is_due(world)
    assert len(await world.tick()) == 1
    assert await world.tick() == []

    await world.clear(*faults)
    await probe_is_due(world)
    ((probe, trigger),) = await world.tick()
    (probed,) = [item for item in items if item.id == probe]
    assert (await world.sync(probed, trigger)).status is SUCCEEDED
    due = {item_id for item_id, _ in await world.tick()}
    assert due == {item.id for item in items} - {probe}
    for item in items:
        await world.sync(item, SCHEDULED)
    await world.check(*items)


async def test_two_open_breakers_do_not_hold_back_each_others_probes(world):
    items = await world.link(count=4, institution_id=BANK)
    fault = await fail_at_bank(world)
    for item in items[:3]:
        await world.sync(item)
    await world.clear(fault)
    fault = await world.fault(items[0], "error", error_code="INVALID_API_KEYS")
    await world.sync(items[0])
    assert await breakers(world) == {f"institution:{BANK}": "open", "plaid": "open"}
    # The Item that is due longest of all is not parked: the two scopes choose different ones.
    await world.sql("UPDATE plaid_items SET next_sync_at = now() - interval '1 day' WHERE id = :id", id=items[3].id)
    await probe_is_due(world)
    probes = await world.tick()
    assert len(probes) == 2
    for item_id, trigger in probes:
        (probed,) = [item for item in items if item.id == item_id]
        assert (await world.sync(probed, trigger)).status is SUCCEEDED
    assert "open" not in (await breakers(world)).values()


async def test_wrong_tokens_in_a_row_are_a_wrong_environment(world):
    items = await world.link(count=11)
    for item in items[:10]:
        await world.fault(item, "error", error_code="INVALID_ACCESS_TOKEN", times=None)
        assert await breakers(world) in ({}, {"plaid": "counting"})
        await world.sync(item, SCHEDULED)
    assert (await world.sync(items[10], SCHEDULED)).error_code == "HELD_BACK"
    assert await world.sql("SELECT DISTINCT status FROM plaid_items") == [("active",)]


async def test_an_item_that_needs_its_user_waits_and_a_repaired_login_brings_it_back(world, item, notice):
    await world.sync(item)
    await world.control("items/fail", item_id=item.plaid_item_id, announce=False)
    assert (await world.sync(item, SCHEDULED)).verdict == "user_must_act"
    assert await world.one(item, "status, next_sync_at") == ("needs_reauth", None)
    assert await world.tick() == []
    await world.evolve(item, added=3, removed=2)
    await world.control("items/repair", item_id=item.plaid_item_id, announce=False)
    await notice(item, "LOGIN_REPAIRED", "ITEM")
    assert world.outbox.take() == [(item.id, WEBHOOK)]
    assert (await world.sync(item, WEBHOOK)).status is SUCCEEDED
    assert await world.one(item, "status, error_code") == ("active", None)
    await world.check(item)


async def test_a_login_repaired_while_a_sync_fails_for_it_is_not_forgotten(world, item, notice):
    """Every message is lost as well: the database alone has to remember it."""
    await world.control("items/fail", item_id=item.plaid_item_id, announce=False)
    fault = await world.fault(item, "hold", phase="response")
    syncing = world.start(item, SCHEDULED)
    await world.control("held", fault_id=fault)
    await world.control("items/repair", item_id=item.plaid_item_id, announce=False)
    await notice(item, "LOGIN_REPAIRED", "ITEM")
    await world.control("release", fault_id=fault)
    assert (await syncing).error_code == "ITEM_LOGIN_REQUIRED"
    world.outbox.take()
    assert await world.tick() == [(item.id, SyncTrigger.BACKFILL)]
    assert (await world.sync(item, SCHEDULED)).status is SUCCEEDED
    await world.check(item)


async def test_twenty_failures_set_an_item_aside_until_a_webhook_brings_it_back(world, item, notice):
    await world.sync(item)
    await world.evolve(item, added=2, modified=1)
    await world.sql("UPDATE plaid_items SET consecutive_failures = 18")
    fault = await world.fault(item, "error", error_code="PRODUCTS_NOT_SUPPORTED", times=None)
    for failures, status in ((19, "active"), (20, "error")):
        await world.sync(item, SCHEDULED)
        assert await world.one(item, "consecutive_failures, status") == (failures, status)
    assert await world.one(item, "next_sync_at") == (None,)
    assert await world.tick() == []
    await world.clear(fault)
    await notice(item)
    world.outbox.take()
    assert await world.tick() == [(item.id, SCHEDULED)]
    assert (await world.sync(item, SCHEDULED)).status is SUCCEEDED
    assert await world.one(item, "consecutive_failures, status") == (0, "active")
    await world.check(item)


async def test_our_own_budget_counts_against_no_item(world, item, monkeypatch):

    async def refuse(*_):
        raise RetryLaterError("OUTBOUND_BUDGET", retry_after=90)

    with monkeypatch.context() as patch:
        patch.setattr("core.plaid.limits.Budget.spend", refuse)
        assert (await world.sync(item, SCHEDULED)).error_code == "OUTBOUND_BUDGET"
    assert await world.one(item, "consecutive_failures, next_sync_at > now() + interval '50 s'") == (0, True)
    assert (await world.sync(item, SCHEDULED)).status is SUCCEEDED
    await world.check(item)


async def test_a_probe_that_fails_for_a_reason_of_its_own_is_not_tried_for_its_bank_again(world):
    items = await world.link(count=4, institution_id=BANK)
    fault = await fail_at_bank(world)
    for item in items[:3]:
        await world.sync(item)
    await world.clear(fault)
    await probe_is_due(world)
    ((first, trigger),) = await world.tick()
    (probed,) = [item for item in items if item.id == first]
    await world.fault(probed, "error", error_code="PRODUCTS_NOT_SUPPORTED", times=None)
    assert (await world.sync(probed, trigger)).error_code == "PRODUCTS_NOT_SUPPORTED"
    await probe_is_due(world)
    ((second, trigger),) = [one for one in await world.tick() if one[1] is SCHEDULED]
    assert second != first
