"""A key seals only once every live process has it, and goes only once nothing uses it."""

import asyncio
import base64
import os
from uuid import uuid4

import asyncpg
import pytest
import structlog
from sqlalchemy import func, insert, select, update

from core.database import open_database
from core.encryption import EncryptionKeyProvider, Keyring, KeyStatus, current_keyring, install_keyring, keyring
from core.errors import ConfigurationError, NotFoundError, UnavailableError
from core.items.registration import NewItem, register_items
from core.models import AuditOutbox, EncryptionKey, KeyringReport
from core.resources import open_resources
from core.rotation.membership import KeyringMember, keyring_followed
from core.rotation.promotion import KeyInUseError, destroy, key_states, laggards, promote
from core.rotation.rotate import plan_rotation, reencrypt_everywhere
from core.settings import Environment, load_settings

ACTOR = "operator:test"


def id_of(key: str) -> str:
    return Keyring.of(base64.urlsafe_b64decode(key)).wanted


@pytest.fixture
def rekeyed(settings, monkeypatch):
    """Give the process's environment a new key and keep the old one to decrypt; returns both ids."""

    def rekey() -> tuple[str, str]:
        old, new = os.environ["MANNA_ENCRYPTION_KEY"], EncryptionKeyProvider.generate_key()
        monkeypatch.setenv("MANNA_ENCRYPTION_KEY", new)
        monkeypatch.setenv("MANNA_ENCRYPTION_KEYS_PREVIOUS", old)
        return id_of(old), id_of(new)

    return rekey


async def another_process(resources, key_ids, primary, seconds_ago=0):
    """Write the report of a process with these keys."""
    async with resources.database.connection() as connection:
        await connection.execute(
            insert(KeyringReport).values(
                process_id=uuid4(),
                process="elsewhere:1",
                key_ids=key_ids,
                primary_key_id=primary,
                reported_at=func.now() - func.make_interval(0, 0, 0, 0, 0, 0, seconds_ago),
            )
        )


async def statuses(resources):
    states = await key_states(resources.database, resources.settings)
    return {state.key_id: state.status for state in states}


async def test_the_first_process_makes_its_key_the_active_one(resources):
    (state,) = await key_states(resources.database, resources.settings)
    assert (state.key_id, state.status) == (current_keyring().primary.key_id, KeyStatus.ACTIVE)
    assert (state.known_by, state.processes) == (1, 1)


async def test_a_new_key_waits_and_the_old_one_goes_on_sealing(resources, rekeyed):
    old, new = rekeyed()
    await resources.keyring.refresh()
    assert await statuses(resources) == {old: KeyStatus.ACTIVE, new: KeyStatus.PENDING}
    assert current_keyring().primary.key_id == old
    assert current_keyring().wanted == new


async def test_promotion_is_refused_until_every_live_process_has_the_key(resources, rekeyed):
    old, new = rekeyed()
    await resources.keyring.refresh()
    await another_process(resources, [old], old)
    with pytest.raises(KeyInUseError, match=f"the key {new} is not known yet to elsewhere:1"):
        await promote(resources.database, resources.settings, new, ACTOR)
    assert (await plan_rotation(resources.database, resources.settings)).unknown_to == 1
    async with resources.database.connection() as connection:
        await connection.execute(
            update(KeyringReport).where(KeyringReport.process == "elsewhere:1").values(key_ids=[old, new])
        )
    assert await promote(resources.database, resources.settings, new, ACTOR) == old
    assert await statuses(resources) == {old: KeyStatus.DECRYPT_ONLY, new: KeyStatus.ACTIVE}


async def test_a_dead_process_is_not_waited_for(resources, rekeyed):
    old, new = rekeyed()
    await resources.keyring.refresh()
    await another_process(resources, [old], old, seconds_ago=3600)
    await promote(resources.database, resources.settings, new, ACTOR)
    assert await laggards(resources.database, resources.settings, old) == []


async def test_a_promotion_is_followed_at_the_next_refresh(resources, rekeyed):
    _, new = rekeyed()
    await resources.keyring.refresh()
    await promote(resources.database, resources.settings, new, ACTOR)
    assert current_keyring().primary.key_id != new
    assert len(await laggards(resources.database, resources.settings, new)) == 1
    await resources.keyring.refresh()
    assert current_keyring().primary.key_id == new
    assert await laggards(resources.database, resources.settings, new) == []


async def test_production_does_not_start_without_the_active_key(resources, settings, monkeypatch):
    before = current_keyring()
    active = before.primary.key_id
    monkeypatch.setattr(keyring, "_installed", [])
    monkeypatch.setenv("MANNA_ENCRYPTION_KEY", EncryptionKeyProvider.generate_key())
    monkeypatch.delenv("MANNA_ENCRYPTION_KEYS_PREVIOUS", raising=False)
    production = settings.model_copy(update={"environment": Environment.PRODUCTION})
    with pytest.raises(ConfigurationError, match=f"Encryption not initialized: the active key {active} is neither"):
        await KeyringMember(resources.database, production).join()
    install_keyring(before)


async def test_development_goes_on_with_the_key_that_it_has(resources, settings, monkeypatch):
    lost = current_keyring().primary.key_id
    monkeypatch.setattr(keyring, "_installed", [])
    monkeypatch.setenv("MANNA_ENCRYPTION_KEY", EncryptionKeyProvider.generate_key())
    await KeyringMember(resources.database, settings).join()
    assert (await statuses(resources))[lost] is KeyStatus.DECRYPT_ONLY
    assert current_keyring().primary.key_id != lost


async def test_a_key_goes_only_when_nothing_uses_it(resources, rekeyed):
    await register_items(resources.database, [NewItem("u", "itm", "access-sandbox-1")], ACTOR)
    old, new = rekeyed()
    await resources.keyring.refresh()
    with pytest.raises(KeyInUseError, match=f"the key {old} is active"):
        await destroy(resources.database, resources.settings, old, ACTOR)
    await promote(resources.database, resources.settings, new, ACTOR)
    with pytest.raises(KeyInUseError, match=f"the key {old} still seals in"):
        await destroy(resources.database, resources.settings, old, ACTOR)
    await resources.keyring.refresh()
    with pytest.raises(KeyInUseError, match=f"1 rows are under the key {old}"):
        await destroy(resources.database, resources.settings, old, ACTOR)
    await reencrypt_everywhere(resources.database, resources.settings)
    await destroy(resources.database, resources.settings, old, ACTOR)
    await resources.keyring.refresh()
    assert (await statuses(resources))[old] is KeyStatus.DESTROYED
    with pytest.raises(KeyInUseError, match="only a pending key can be promoted"):
        await promote(resources.database, resources.settings, old, ACTOR)
    with pytest.raises(NotFoundError, match="manna keys status"):
        await destroy(resources.database, resources.settings, "00000000", ACTOR)


async def test_each_step_is_recorded(resources, rekeyed):
    old, new = rekeyed()
    await resources.keyring.refresh()
    await promote(resources.database, resources.settings, new, ACTOR)
    await resources.keyring.refresh()
    await destroy(resources.database, resources.settings, old, ACTOR)
    async with resources.database.connection() as connection:
        events = (await connection.execute(select(AuditOutbox.event_type, AuditOutbox.resource))).all()
    assert [tuple(event) for event in events] == [
        ("keys:key:added", f"key:{new}"),
        ("keys:key:promoted", f"key:{new}"),
        ("keys:key:destroyed", f"key:{old}"),
    ]


async def test_uses_are_counted_over_all_processes_and_restarts(settings):
    for number in range(3):
        async with open_resources(settings) as resources:
            await register_items(resources.database, [NewItem("u", f"itm{number}", "access-sandbox-1")], ACTOR)
            await resources.keyring.refresh()
    async with open_resources(settings) as resources, resources.database.connection() as connection:
        assert (await connection.execute(select(EncryptionKey.uses))).scalar_one() == 3
        assert (await connection.execute(select(func.count()).select_from(KeyringReport))).scalar_one() == 1
    assert current_keyring().primary.uses.elsewhere + current_keyring().primary.uses.here == 3


async def test_encryption_switched_off_takes_no_part(settings, monkeypatch):
    monkeypatch.setattr(keyring, "_installed", [])
    monkeypatch.setenv("FIELD_ENCRYPTION_ENABLED", "false")
    async with open_resources(load_settings()) as resources:
        assert await key_states(resources.database, resources.settings) == []
        await register_items(resources.database, [NewItem("u", "itm", "access-sandbox-1")], ACTOR)
        with pytest.raises(ConfigurationError, match="FIELD_ENCRYPTION_ENABLED is off"):
            await reencrypt_everywhere(resources.database, resources.settings)


async def test_an_unmigrated_database_is_one_line(addresses, settings, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", addresses.database("postgres"))
    with pytest.raises(UnavailableError, match="the database is not migrated: run alembic upgrade head"):
        async with open_resources(load_settings()):
            pass


async def test_a_process_without_a_connection_to_spare_goes_on_following(settings, monkeypatch):
    """The pool's time-out is no error of the database's; whoever stops reporting for it takes no part any more."""
    settings = settings.model_copy(update={"database_pool_size": 1, "keyring_refresh_seconds": 0.1})
    database = open_database(settings, settings.database_url)
    monkeypatch.setattr(database._engine.pool, "_timeout", 0)
    looking = await asyncpg.connect(settings.database_url)
    reported = "SELECT count(*) FROM keyring_reports WHERE reported_at > $1"
    with structlog.testing.capture_logs() as logs:
        async with keyring_followed(database, settings), asyncio.timeout(20):
            async with database.connection():
                while not logs:  # noqa: ASYNC110 - what is waited for is a line of the log
                    await asyncio.sleep(0.01)
            since = await looking.fetchval("SELECT clock_timestamp()")
            while not await looking.fetchval(reported, since):  # noqa: ASYNC110 - and here in the database
                await asyncio.sleep(0.01)
    assert {line["event"] for line in logs} == {"keyring_refresh_failed"}
    await looking.close()
    await database.close()
