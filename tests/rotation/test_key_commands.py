"""The rotation as an operator does it, command by command."""

import json
import os
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import insert

from core.encryption import EncryptionKeyProvider, current_keyring
from core.encryption.provider import parse_key
from core.items.registration import NewItem, register_items
from core.models import KeyringReport
from core.rotation.proof import rows_by_key
from core.settings import load_settings
from tests.rotation.command import manna

# This process does not get old while the test runs.
LATER = datetime.now(UTC) + timedelta(hours=1)
ACTOR = "operator:test"


@pytest.fixture
def settings(settings, monkeypatch):
    """Processes that follow a promotion within a second."""
    monkeypatch.setenv("KEYRING_REFRESH_SECONDS", "1")
    return load_settings()


async def test_a_generated_key_is_one_and_can_be_wrapped(tmp_path, monkeypatch):
    assert len(parse_key("key", (await manna("keys", "generate")).strip())) == 32
    kek = tmp_path / "kek"
    kek.touch(0o600)
    kek.write_text(EncryptionKeyProvider.generate_key())
    monkeypatch.setenv("MANNA_KEK_FILE", str(kek))
    wrapped = (await manna("keys", "generate", "--wrap", "local")).strip()
    assert wrapped.startswith("wrapped:local:")
    assert len(parse_key("key", wrapped)) == 32
    assert await manna("keys", "generate", "--wrap", "gpg") == (
        "manna: a key is wrapped by 'gpg'; accepted are local, aws, vault"
    )


async def test_a_rotation_from_the_new_key_to_the_destroyed_old_one(resources, monkeypatch):
    items = [NewItem("u", f"itm{number}", "access-sandbox-1") for number in range(3)]
    await register_items(resources.database, items, ACTOR)
    old = current_keyring().primary.key_id
    assert (await manna("keys", "rotate")).startswith("nothing to rotate: every row is under the active key")

    monkeypatch.setenv("MANNA_ENCRYPTION_KEYS_PREVIOUS", os.environ["MANNA_ENCRYPTION_KEY"])
    monkeypatch.setenv("MANNA_ENCRYPTION_KEY", EncryptionKeyProvider.generate_key())
    await resources.keyring.refresh()
    new = current_keyring().wanted
    assert await manna("keys", "rotate", "--dry-run") == f"would promote {new} over {old} and re-encrypt 3 rows\n"

    async with resources.database.connection() as connection:
        report = {"process": "elsewhere:1", "key_ids": [old], "primary_key_id": old}
        await connection.execute(insert(KeyringReport).values(process_id=uuid4(), reported_at=LATER, **report))
    assert await manna("keys", "rotate") == f"manna: the key {new} is not known yet to elsewhere:1"
    assert "1 live processes do not know it yet" in await manna("keys", "rotate", "--dry-run")
    async with resources.database.connection() as connection:
        await connection.execute(KeyringReport.__table__.delete().where(KeyringReport.process == "elsewhere:1"))

    done = json.loads(await manna("keys", "rotate", "--json"))
    assert done["result"] == {"key_id": new, "rewritten": 3, "unreadable": 0, "remaining": 0}
    assert await rows_by_key(resources.database) == {new: 3}
    await resources.keyring.refresh()
    states = {state["key_id"]: state for state in json.loads(await manna("keys", "status", "--json"))}
    assert (states[old]["status"], states[old]["rows"]) == ("decrypt-only", 0)
    assert (states[new]["status"], states[new]["rows"], states[new]["known_by"]) == ("active", 3, 2)
    assert (await manna("keys", "destroy", old)).startswith(f"{old} opens nothing any more")
    assert old in await manna("keys", "status")
