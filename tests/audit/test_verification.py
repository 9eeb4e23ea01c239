"""Whatever is done to the chain, verification finds it; and so does the verifier that shares no code with it."""

import base64
import json
import random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import text

from core.audit.chain import Link
from core.audit.checkpoints import read_checkpoints
from core.audit.export import as_fields
from core.audit.reading import read_range
from core.audit.signing import PublicKey, SigningKey, load_public_keys
from core.audit.verification import verify_chain
from scripts.verify_audit import problems
from tests.audit.chain import Held, execute, seal, verify

EVENTS = 12
# What somebody with the owner's rights could do; the guards are theirs to switch off.
UNGUARD = ("ALTER TABLE audit_events DISABLE TRIGGER USER", "ALTER TABLE audit_checkpoints DISABLE TRIGGER USER")
COPY = """
INSERT INTO audit_events SELECT {seq}, sealed_at, gen_random_uuid(), event_type, occurred_at, actor, resource, message,
context, prev_hash, hash FROM audit_events WHERE seq = {of}
"""
EDITS = (
    "event_id = gen_random_uuid()",
    "event_type = 'plaid:item:removed'",
    "occurred_at = occurred_at + interval '1 microsecond'",
    "sealed_at = sealed_at + interval '1 microsecond'",
    "actor = actor || ' '",
    "resource = NULL",
    "message = upper(message)",
    "context = context || '{\"pages\": 1}'",
    "context = context - 'version'",
    "prev_hash = set_byte(prev_hash, 0, 255 - get_byte(prev_hash, 0))",
    "hash = set_byte(hash, 31, 255 - get_byte(hash, 31))",
)


def edit(dice):
    return [f"UPDATE audit_events SET {dice.choice(EDITS)} WHERE seq = {dice.randint(1, EVENTS)}"]


def delete(dice):
    first = dice.randint(1, EVENTS)
    return [f"DELETE FROM audit_events WHERE seq BETWEEN {first} AND {dice.randint(first, EVENTS)}"]


def insert(dice):
    at = dice.randint(1, EVENTS + 1)
    moved = [f"UPDATE audit_events SET seq = seq + 1000 WHERE seq >= {at}"]
    moved += ["UPDATE audit_events SET seq = seq - 999 WHERE seq > 1000", f"UPDATE audit_chain SET seq = {EVENTS + 1}"]
    shifted = dice.random() < 0.7
    copied = COPY.format(seq=at if shifted else dice.randint(1, EVENTS + 1), of=1 if at > 1 or not shifted else 2)
    # A number may stand there twice: the key includes when it was sealed.
    return [*(moved if shifted else []), copied.replace("sealed_at,", "sealed_at + interval '1 us',", 1)]


def reorder(dice):
    one, other = dice.sample(range(1, EVENTS + 1), 2)
    return [
        f"UPDATE audit_events SET seq = -1 WHERE seq = {one}",
        f"UPDATE audit_events SET seq = {one} WHERE seq = {other}",
        f"UPDATE audit_events SET seq = {other} WHERE seq = -1",
    ]


def cut(dice):
    """Cut the tail and make head, and in half of the cases the checkpoints, agree with what is left."""
    last = dice.randint(1, EVENTS - 1)
    head = f"(SELECT hash FROM audit_events WHERE seq = {last})"
    done = [f"UPDATE audit_chain SET seq = {last}, hash = {head}", f"DELETE FROM audit_events WHERE seq > {last}"]
    return done if dice.random() < 0.5 else done[1:]


HARMS = (edit, delete, insert, reorder, cut)


async def exported(connection):
    events = [json.loads(json.dumps(as_fields(event))) for event in await read_range(connection, 0, 10**9)]
    checkpoints = [json.loads(one.as_line()) for one in await read_checkpoints(connection, 0, 10**9, 10**9)]
    return events, checkpoints


# Two hundred of each kind make the thousand.
@pytest.mark.parametrize("harm", HARMS)
async def test_each_of_two_hundred_random_harms_is_found_by_both_verifiers(resources, harm):
    await seal(resources, 4, 5, 3)
    keys = load_public_keys(resources.settings)
    outside = [Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(key.text)) for key in keys.values()]
    dice = random.Random(5)
    async with resources.database.connection() as connection:
        for statement in UNGUARD:
            await connection.execute(text(statement))
        assert (await verify_chain(Held(connection), keys)).problem is None
        assert not list(problems(*await exported(connection), outside))
        missed = []
        for _ in range(200):
            statements = harm(dice)
            savepoint = await connection.begin_nested()
            for statement in statements:
                await connection.execute(text(statement))
            found = await verify_chain(Held(connection), keys)
            independent = next(problems(*await exported(connection), outside), None)
            if found.problem is None or independent is None:
                missed.append((statements, found.problem, independent))
            await savepoint.rollback()
        assert missed == []


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        ("UPDATE audit_events SET actor = 'somebody else' WHERE seq = 3", "event 3 is not what was sealed"),
        ("DELETE FROM audit_events WHERE seq = 3", "event 3 is missing"),
        ("DELETE FROM audit_events WHERE seq >= 5", "event 5 and all after it are missing"),
        ("DELETE FROM audit_events WHERE seq <= 2", "events up to 2 are missing and were never retired"),
        ("DELETE FROM audit_events WHERE seq <= 3", "events 3 to 3 are missing"),
        ("DELETE FROM audit_events", "events up to 6 are missing and were never retired"),
        (COPY.format(seq=7, of=3), "event 7 stands beyond the head"),
        (
            COPY.format(seq=3, of=3).replace("sealed_at,", "sealed_at + interval '1 us',", 1),
            "event 3 stands there twice",
        ),
        ("UPDATE audit_events SET sealed_at = sealed_at - interval '1 s' WHERE seq = 4", "sealed before the one"),
        ("UPDATE audit_chain SET hash = decode(repeat('01', 32), 'hex')", "the head of the chain does not match"),
        ("UPDATE audit_checkpoints SET root = chain_hash WHERE number = 1", "checkpoint 1 has no valid signature"),
        ("UPDATE audit_checkpoints SET signature = 'none'", "checkpoint 1 has no valid signature"),
        ("DELETE FROM audit_checkpoints WHERE number = 1", "checkpoint 1 is missing"),
    ],
)
async def test_harm_is_named(resources, harm, problem):
    await seal(resources, 2, 4)
    await execute(resources, *UNGUARD, harm)
    assert problem in (await verify(resources)).problem


async def test_a_chain_rewritten_whole_with_right_hashes_is_betrayed_by_its_signatures(resources):
    await seal(resources, 4, 4)
    await execute(resources, *UNGUARD, "UPDATE audit_events SET actor = 'nobody' WHERE seq = 2")
    async with resources.database.connection() as connection:
        link = Link()
        for event in await read_range(connection, 0, 8):
            following = link.next(event.content)
            rewrite = text("UPDATE audit_events SET prev_hash = :before, hash = :own WHERE seq = :seq")
            facts = {"before": link.hash, "own": following.hash, "seq": event.seq}
            await connection.execute(rewrite, facts)
            link = following
        await connection.execute(text("UPDATE audit_chain SET hash = :hash"), {"hash": link.hash})
    found = await verify(resources)
    assert found.problem == "events 1 to 4 are not those that checkpoint 1 was signed for"


async def test_a_tail_cut_with_its_checkpoint_is_betrayed_by_the_exported_one(resources):
    await seal(resources, 3, 3)
    async with resources.database.connection() as connection:
        outside = await read_checkpoints(connection, 0, 100, 100)
    await execute(
        resources,
        *UNGUARD,
        "DELETE FROM audit_checkpoints WHERE number = 2",
        "DELETE FROM audit_events WHERE seq > 3",
        "UPDATE audit_chain SET seq = 3, hash = (SELECT hash FROM audit_events WHERE seq = 3)",
    )
    assert (await verify(resources)).problem is None
    assert "checkpoint 2" in (await verify(resources, outside=outside)).problem


async def test_a_signature_by_another_key_does_not_count(resources):
    await seal(resources, 3)
    stranger = SigningKey.from_seed(bytes(range(32))).public
    found = await verify_chain(resources.database, {stranger.key_id: stranger})
    assert found.problem == "checkpoint 1 has no valid signature by a known key"


async def test_checkpoints_of_an_older_key_count_when_its_public_half_is_named(resources, monkeypatch):
    await seal(resources, 3)
    (old,) = load_public_keys(resources.settings).values()
    monkeypatch.setenv("AUDIT_SIGNING_KEY", base64.urlsafe_b64encode(bytes(range(32))).decode())
    await seal(resources, 2)
    assert "checkpoint 1 has no valid signature" in (await verify(resources)).problem
    settings = resources.settings.model_copy(update={"audit_public_keys": (old.text,)})
    found = await verify_chain(resources.database, load_public_keys(settings))
    assert (found.checkpoints, found.signed_through, found.problem) == (2, 5, None)


def test_a_key_never_shows_itself():
    assert "private" not in repr(SigningKey.from_seed(bytes(range(32)))).lower()
    assert PublicKey.of(bytes(31) + b"\1").key_id in repr(PublicKey.of(bytes(31) + b"\1"))
