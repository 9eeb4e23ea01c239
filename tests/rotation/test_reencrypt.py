"""Re-encryption while the service runs: nothing lost, nothing unreadable, resumable, and proven at its end."""

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import func, select, text, update

from core.database import TIMEOUTS, open_database
from core.encryption import EncryptionKeyProvider, KeyStatus, current_keyring
from core.encryption.keyring import Keyring
from core.items.registration import NewItem, register_items
from core.models import AuditOutbox, PlaidItem, QuarantinedTransaction, RunStatus, SyncTrigger
from core.rotation import reencrypt as module
from core.rotation.promotion import key_states, promote
from core.rotation.proof import NOT_SEALED, rows_by_key
from core.rotation.reencrypt import reencrypt, rows_under_other_keys
from core.rotation.rotate import plan_rotation, reencrypt_everywhere
from core.sync.sync_item import sync_item
from tasks.reencrypt import reencrypt_some
from tests.conftest import ROOT
from tests.integration.plaid_script import PlaidScript, page, transaction

TOKEN = "access-sandbox-{}"


async def register(resources, count):
    items = [NewItem("u", f"itm{number}", TOKEN.format(number)) for number in range(count)]
    return await register_items(resources.database, items, "operator:test")


async def tokens(resources) -> dict[str, str]:
    """Return every token, by Plaid's id, as the application reads it."""
    async with resources.database.transaction() as session:
        rows = (await session.scalars(select(PlaidItem))).all()
    return {row.plaid_item_id: row.plaid_access_token for row in rows}


def expected(count: int) -> dict[str, str]:
    return {f"itm{number}": TOKEN.format(number) for number in range(count)}


@pytest.fixture
async def staged(resources, monkeypatch):
    """Return a function that gives the process a new key and makes it the active one."""

    async def stage() -> tuple[str, str]:
        old = current_keyring().primary.key_id
        previous = [os.environ["MANNA_ENCRYPTION_KEY"], os.environ.get("MANNA_ENCRYPTION_KEYS_PREVIOUS", "")]
        monkeypatch.setenv("MANNA_ENCRYPTION_KEYS_PREVIOUS", ",".join(filter(None, previous)))
        monkeypatch.setenv("MANNA_ENCRYPTION_KEY", EncryptionKeyProvider.generate_key())
        await resources.keyring.refresh()
        new = current_keyring().wanted
        await promote(resources.database, resources.settings, new, "operator:test")
        await resources.keyring.refresh()
        return old, new

    return stage


async def test_every_value_of_every_encrypted_column_comes_under_the_new_key(resources, staged):
    ids = await register(resources, 3)
    async with resources.database.transaction() as session:
        session.add(
            QuarantinedTransaction(
                item_id=ids[0], run_id=uuid4(), place="added", reason="x", body_sha256=bytes(32), body="{}"
            )
        )
    old, new = await staged()
    plan = await plan_rotation(resources.database, resources.settings)
    assert (plan.active, plan.candidate, plan.rows) == (new, None, 4)
    seen = []
    state = await reencrypt_everywhere(resources.database, resources.settings, on_progress=seen.append)
    assert (state.rewritten, state.remaining, state.unreadable, sum(seen)) == (4, 0, 0, 4)
    assert await rows_by_key(resources.database) == {new: 4}
    assert await tokens(resources) == expected(3)
    states = {
        state.key_id: (state.status, state.rows) for state in await key_states(resources.database, resources.settings)
    }
    assert states == {old: (KeyStatus.DECRYPT_ONLY, 0), new: (KeyStatus.ACTIVE, 4)}


async def test_it_is_recorded_batch_by_batch_with_the_proof(resources, staged):
    await register(resources, 3)
    _, new = await staged()
    await reencrypt(resources.database, actor="operator:test")
    async with resources.database.connection() as connection:
        query = select(AuditOutbox.event_type, AuditOutbox.actor, AuditOutbox.context)
        events = (await connection.execute(query.where(AuditOutbox.event_type.like("keys:rotation:%")))).all()
    started, batch, finished = events
    assert (started.event_type, started.actor) == ("keys:rotation:started", "operator:test")
    assert batch.context["count"] == 3
    assert (finished.context["key_id"], finished.context["remaining"]) == (new, 0)


async def test_doing_it_again_does_nothing(resources, staged):
    await register(resources, 2)
    await staged()
    assert (await reencrypt(resources.database)).rewritten == 2
    assert (await reencrypt(resources.database)).rewritten == 0


async def test_syncs_that_run_meanwhile_lose_nothing(resources, staged, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 3)
    ids = await register(resources, 20)
    await staged()
    script = PlaidScript(*[page([transaction("a")], next_cursor="c1")] * 20)

    async def sync(item_id: UUID) -> RunStatus:
        return (await sync_item(replace(resources, plaid=script), item_id, SyncTrigger.SCHEDULED)).status

    state, *outcomes = await asyncio.gather(reencrypt(resources.database), *map(sync, ids))
    assert outcomes == [RunStatus.SUCCEEDED] * 20
    assert {token for token, _ in script.asked} == set(expected(20).values())
    assert (state.rewritten, state.remaining) == (20, 0)
    async with resources.database.connection() as connection:
        rows = (await connection.execute(text("SELECT cursor, version, status FROM plaid_items"))).all()
    assert {tuple(row) for row in rows} == {("c1", 1, "active")}
    assert await tokens(resources) == expected(20)


async def test_a_value_that_was_written_meanwhile_is_not_overwritten(resources, staged):
    (item_id,) = await register(resources, 1)
    await staged()
    async with resources.database.transaction() as session:
        row = await session.get(PlaidItem, item_id)
        row.plaid_access_token = "access-sandbox-newer"
        await session.flush()
        # The row is locked: a pass steps over it and does not wait.
        assert (await module.rows_under_other_keys(resources.database, current_keyring().primary.key_id)) == 1
        sealed = next(iter(module.sealed_columns()))
        async with resources.database.transaction() as other:
            assert (await module._rewrite(other, sealed, (), current_keyring())).after is None
    assert await tokens(resources) == {"itm0": "access-sandbox-newer"}


async def test_a_stale_envelope_is_never_written_over_another(resources, staged):
    (item_id,) = await register(resources, 1)
    sealed = next(column for column in module.sealed_columns() if column.table.name == "plaid_items")
    async with resources.database.transaction() as session:
        await session.execute(
            module._write(sealed), {"k0": [item_id], "old": ["sealed:v1:stale"], "new": ["sealed:v1:x"]}
        )
    assert await tokens(resources) == expected(1)


async def test_what_does_not_open_is_counted_and_left_as_it_is(resources, staged):
    ids = await register(resources, 3)
    stray = Keyring.of(os.urandom(32)).seal("x", b"elsewhere")
    async with resources.database.connection() as connection:
        await connection.execute(
            update(PlaidItem).where(PlaidItem.id == ids[1]).values(plaid_access_token=stray),
            execution_options={"synchronize_session": False},
        )
    await staged()
    state = await reencrypt(resources.database)
    assert (state.rewritten, state.remaining, state.unreadable, state.complete) == (2, 1, 1, True)
    async with resources.database.connection() as connection:
        kept = await connection.execute(select(PlaidItem.plaid_access_token).where(PlaidItem.id == ids[1]))
        assert kept.scalar_one() == stray
        failed = AuditOutbox.event_type == "security:value:decryption_failed"
        assert (await connection.execute(select(func.count()).where(failed))).scalar_one() == 1


async def test_what_is_no_envelope_is_counted_apart(resources, database_url):
    await register(resources, 1)
    async with resources.database.connection() as connection:
        await connection.execute(text("UPDATE plaid_items SET plaid_access_token = 'unsealed:v1:x'"))
    assert await rows_by_key(resources.database) == {NOT_SEALED: 1}


async def test_a_time_limit_ends_it_between_two_batches_and_the_task_sends_for_the_rest(resources, staged, monkeypatch):
    await register(resources, 2)
    _, new = await staged()
    state = await reencrypt(resources.database, seconds=0.0)
    assert not state.complete
    assert await rows_under_other_keys(resources.database, new) == 2
    await reencrypt_some(resources)
    assert await rows_under_other_keys(resources.database, new) == 0


ROTATION = """
import asyncio, sys
from core.resources import open_resources
from core.rotation import reencrypt as module
from core.settings import load_settings

async def main():
    module.BATCH = 5
    async with open_resources(load_settings()) as resources:
        await module.reencrypt(resources.database, on_progress=lambda done: print(done, flush=True))
asyncio.run(main())
"""


async def test_killed_again_and_again_it_ends_with_nothing_under_the_old_key(resources, staged):
    await register(resources, 60)
    _, new = await staged()
    left = []
    for _ in range(3):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", ROTATION, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        # In the middle: two batches are told of, the next is under way.
        await process.stdout.readline()
        await process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        await process.wait()
        left.append(await rows_under_other_keys(resources.database, new))
        assert await tokens(resources) == expected(60)
    assert 60 > left[0] > left[1] >= left[2]
    state = await reencrypt(resources.database)
    assert state.rewritten == left[2]
    assert await rows_by_key(resources.database) == {new: 60}
    assert await tokens(resources) == expected(60)


async def test_values_under_each_key_are_counted_however_long_that_takes(
    resources, settings, database_url, monkeypatch
):
    """A lock stands in for a table of many rows: either has the statement last longer than the service allows."""
    monkeypatch.setitem(TIMEOUTS, "statement_timeout", "100")
    hasty, other = open_database(settings, database_url), await asyncpg.connect(database_url)
    try:
        await other.execute("BEGIN; LOCK TABLE plaid_items")
        counting = asyncio.create_task(rows_by_key(hasty))
        await other.execute("SELECT pg_sleep(0.5)")
        assert not counting.done()
        await other.execute("COMMIT")
        assert await counting == {}
    finally:
        await other.close()
        await hasty.close()
