"""Tokens of other libraries, made by those libraries themselves, taken over from the table and from a file."""

import json
from pathlib import Path

import asyncpg
import pytest

from core.encryption import current_keyring
from core.encryption.cipher import context_of
from core.errors import ConfigurationError, EncryptionError
from core.identity import new_id
from core.rotation.legacy import TokenFormat, revealer
from tests.rotation.command import manna

LEGACY = json.loads((Path(__file__).parent / "legacy.json").read_text())["tokens"]


@pytest.mark.parametrize("made", LEGACY, ids=[f"{made['format']}-{n}" for n, made in enumerate(LEGACY)])
def test_what_the_library_itself_made_is_read(made):
    assert revealer(TokenFormat(made["format"]), made["key"])(made["stored"]) == made["text"]


@pytest.mark.parametrize("made", LEGACY, ids=[f"{made['format']}-{n}" for n, made in enumerate(LEGACY)])
def test_a_changed_letter_or_another_key_is_refused(made):
    reveal = revealer(TokenFormat(made["format"]), made["key"])
    for changed in (made["stored"][:-1], "A" + made["stored"][1:], "", "é"):
        if changed != made["stored"]:
            with pytest.raises(EncryptionError, match=r"^Failed to decrypt data"):
                reveal(changed)


def test_what_is_no_plaid_token_is_not_taken_for_one():
    reveal = revealer(TokenFormat.PLAIN, "")
    assert reveal("access-sandbox-1") == reveal("unsealed:v1:access-sandbox-1") == "access-sandbox-1"
    for text in ("", "public-sandbox-1", "access-sandbox-1 ", "gAAAAAB", "access-sandbox-" + "x" * 240):
        with pytest.raises(EncryptionError):
            reveal(text)


def test_a_missing_or_malformed_key_is_named():
    with pytest.raises(ConfigurationError, match="need the key"):
        revealer(TokenFormat.SQLALCHEMY_UTILS_FERNET, " ")
    with pytest.raises(ConfigurationError, match="accepted is one key a line"):
        revealer(TokenFormat.MULTIFERNET, "no fernet key")


@pytest.fixture
async def unguarded(database_url):
    """A table that still takes anything, as it stands before the revision that encrypts."""
    connection = await asyncpg.connect(database_url)
    await connection.execute("ALTER TABLE plaid_items DROP CONSTRAINT ck_plaid_items_plaid_access_token_is_sealed")
    yield connection
    await connection.close()


async def test_the_table_is_taken_over_in_place(resources, unguarded, tmp_path):
    made = [one for one in LEGACY if one["format"] == "multifernet"]
    rows = [(new_id(), f"itm{number}", one["stored"]) for number, one in enumerate(made)]
    insert = "INSERT INTO plaid_items (id, user_id, plaid_item_id, plaid_access_token) VALUES ($1, 'u', $2, $3)"
    await unguarded.executemany(insert, rows)
    keys = tmp_path / "keys"
    keys.write_text(made[0]["key"])
    command = ("keys", "import-tokens", "--format", "multifernet", "--key-file", str(keys))
    assert await manna(*command, "--dry-run") == "2 tokens would be sealed\n"
    assert await manna(*command) == "2 tokens sealed\n"
    for item_id, _, _ in rows:
        sealed = await unguarded.fetchval("SELECT plaid_access_token FROM plaid_items WHERE id = $1", item_id)
        place = context_of("plaid_items", "plaid_access_token", item_id)
        assert current_keyring().open(sealed, place) == "access-sandbox-old"
    assert await unguarded.fetchval("SELECT event_type FROM audit_outbox") == "keys:tokens:imported"
    assert await manna(*command) == "0 tokens sealed\n"


async def test_a_wrong_key_changes_nothing(resources, unguarded, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("another key")
    stored = LEGACY[0]["stored"]
    insert = "INSERT INTO plaid_items (id, user_id, plaid_item_id, plaid_access_token) VALUES ($1, 'u', 'itm', $2)"
    await unguarded.execute(insert, new_id(), stored)
    refused = await manna("keys", "import-tokens", "--format", LEGACY[0]["format"], "--key-file", str(keys))
    assert refused.startswith("manna: 1 of 1 tokens cannot be read, the first in ")
    assert await unguarded.fetchval("SELECT plaid_access_token FROM plaid_items") == stored


async def test_a_file_is_registered(resources, unguarded, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(LEGACY[0]["key"])
    lines = [
        json.dumps({"user_id": "u", "plaid_item_id": f"itm{n}", "access_token": one["stored"]})
        for n, one in enumerate(LEGACY)
        if one["format"] == LEGACY[0]["format"]
    ]
    command = ("keys", "import-tokens", "-", "--format", LEGACY[0]["format"], "--key-file", str(keys))
    assert await manna(*command, given="\n".join(lines)) == "2 registered, 0 were there already\n"
    refused = await manna(*command, given=lines[0].replace("access_token", "token"))
    assert refused.startswith("manna: line 1: Object")
