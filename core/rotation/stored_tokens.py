"""Seals access tokens that stand in `plaid_items` as something else: plain, or another library's ciphertext.

Knows the table by its SQL names and not by its model, because the migration that encrypts runs it for ever.
Each batch is one statement, which is atomic in any transaction and in none. Tokens never become parameters: a
row is recognised by the digest of what stands in it.
"""

import hashlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from uuid import UUID

from sqlalchemy import ARRAY, LargeBinary, Text, Uuid, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from core.audit import AuditEventType, log_audit_event
from core.encryption.cipher import context_of
from core.encryption.keyring import Keyring, KeyStatus
from core.errors import EncryptionError
from core.identity import new_id
from core.rotation.legacy import Reveal

BATCH = 1000
NO_ROW = UUID(int=0)
FIRST_PROBLEMS = 3

UNSEALED = text(
    "SELECT id, plaid_access_token FROM plaid_items"
    " WHERE id > :after AND plaid_access_token NOT LIKE 'sealed:%' ORDER BY id LIMIT :batch"
)
STATUSES = text("SELECT key_id, status FROM encryption_keys")
# What seals the first values is the active key, also when no process has been there before a migration.
FIRST_KEY = text(
    "INSERT INTO encryption_keys (key_id, status, promoted_at) SELECT :key_id, 'active', now()"
    " WHERE NOT EXISTS (SELECT 1 FROM encryption_keys WHERE status = 'active')"
).bindparams(bindparam("key_id", type_=Text()))
SEAL = text(
    "WITH given AS (SELECT * FROM unnest(:ids, :digests, :sealed) AS given (id, digest, sealed)),"
    " moved AS ("
    "  UPDATE plaid_items SET plaid_access_token = given.sealed FROM given WHERE plaid_items.id = given.id"
    "  AND sha256(convert_to(plaid_items.plaid_access_token, 'UTF8')) = given.digest RETURNING 1)"
    " INSERT INTO audit_outbox (event_id, event_type, occurred_at, actor, resource, message, context)"
    " SELECT :event_id, :event_type, clock_timestamp(), :actor, 'table:plaid_items', 'Access tokens were sealed',"
    "  jsonb_build_object('count', count(*), 'key_id', :key_id) FROM moved"
).bindparams(
    bindparam("ids", type_=ARRAY(Uuid())),
    bindparam("digests", type_=ARRAY(LargeBinary())),
    bindparam("sealed", type_=ARRAY(Text())),
    bindparam("event_id", type_=Uuid()),
    bindparam("event_type", type_=Text()),
    bindparam("actor", type_=Text()),
    bindparam("key_id", type_=Text()),
)

SEALED = text(
    "SELECT id, plaid_access_token FROM plaid_items"
    " WHERE id > :after AND plaid_access_token LIKE 'sealed:%' ORDER BY id LIMIT :batch"
)
# Plain text is about to stand in the table, so it may stand in a parameter; engines of ours hide those.
REVEAL = text(
    "UPDATE plaid_items SET plaid_access_token = given.plain"
    " FROM unnest(:ids, :plain) AS given (id, plain) WHERE plaid_items.id = given.id"
).bindparams(bindparam("ids", type_=ARRAY(Uuid())), bindparam("plain", type_=ARRAY(Text())))

Rows = list[tuple[UUID, str]]
Connect = Callable[[], AbstractAsyncContextManager[AsyncConnection]]


async def seal_stored_tokens(  # noqa: PLR0913 - what, how, by whom, and two ways to look on
    connect: Connect,
    reveal: Reveal,
    load_keyring: Callable[[], Keyring],
    *,
    event: AuditEventType,
    actor: str,
    dry_run: bool = False,
    on_progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Seal every token that is no envelope, and return how many those are; each batch is there once it is done.

    All are read before the first is written, so a wrong key or a foreign value changes nothing. Killed, it goes
    on where it stood. `connect` gives a connection for one batch.

    Raises:
        EncryptionError: a token cannot be read; the text counts them and names the first rows.
    """
    total, bad = await _read_all(connect, reveal)
    if bad:
        named = ", ".join(map(str, bad[:FIRST_PROBLEMS]))
        raise EncryptionError(f"{len(bad)} of {total} tokens cannot be read, the first in {named}; nothing was changed")
    if not total or dry_run:
        return total
    async with connect() as connection:
        keyring = await keyring_agreed(connection, load_keyring())
    after: UUID | None = NO_ROW
    while after is not None:
        async with connect() as connection:
            rows = await unsealed_rows(connection, after)
            if rows:
                await seal_rows(connection, rows, reveal, keyring, event, actor)
        on_progress(len(rows))
        after = rows[-1][0] if rows else None
    return total


async def _read_all(connect: Connect, reveal: Reveal) -> tuple[int, list[UUID]]:
    bad: list[UUID] = []
    total, after = 0, NO_ROW
    while True:
        async with connect() as connection:
            rows = await unsealed_rows(connection, after)
        if not rows:
            return total, bad
        total, after = total + len(rows), rows[-1][0]
        bad += [item_id for item_id, stored in rows if not _reads(stored, reveal)]


async def unsealed_rows(connection: AsyncConnection, after: UUID = NO_ROW) -> Rows:
    """Return the next rows, by id, whose token is no envelope."""
    found = await connection.execute(UNSEALED, {"after": after, "batch": BATCH})
    return [(item_id, stored) for item_id, stored in found]


async def keyring_agreed(connection: AsyncConnection, keyring: Keyring) -> Keyring:
    """Return the keyring as the database has it: the active key seals, whichever this process would prefer.

    Raises:
        EncryptionError: the active key is not among these.
    """
    await connection.execute(FIRST_KEY, {"key_id": keyring.wanted})
    statuses = {key_id: KeyStatus(status) for key_id, status in await connection.execute(STATUSES)}
    try:
        return keyring.under(statuses)
    except KeyError as missing:
        raise EncryptionError(f"the active key {missing.args[0]} is not among this process's keys") from None


async def seal_rows(  # noqa: PLR0913, PLR0917 - a batch's facts
    connection: AsyncConnection, rows: Rows, reveal: Reveal, keyring: Keyring, event: AuditEventType, actor: str
) -> None:
    """Seal these rows and record it, in one statement; a row that changed meanwhile is left for the next time.

    Raises:
        EncryptionError: a row cannot be read; nothing of this batch was written.
    """
    envelopes = [
        keyring.seal(reveal(stored), context_of("plaid_items", "plaid_access_token", item_id))
        for item_id, stored in rows
    ]
    values = {
        "ids": [item_id for item_id, _ in rows],
        "digests": [hashlib.sha256(stored.encode()).digest() for _, stored in rows],
        "sealed": envelopes,
        "event_id": new_id(),
        "event_type": event.value,
        "actor": actor,
        "key_id": keyring.primary.key_id,
    }
    await connection.execute(SEAL, values)


async def unseal_stored_tokens(connection: AsyncConnection, keyring: Keyring, actor: str) -> None:
    """Turn every envelope back into plain text, recorded before the first: the way back that a downgrade may ask for.

    Raises:
        EncryptionError: a token does not open; the caller's transaction is to be rolled back.
    """
    async with AsyncSession(connection) as session:
        await log_audit_event(
            AuditEventType.TOKEN_DECRYPTED, "All access tokens are decrypted", session=session, actor=actor
        )
        await session.flush()
    after = NO_ROW
    while rows := list(await connection.execute(SEALED, {"after": after, "batch": BATCH})):
        plain = [
            keyring.open(sealed, context_of("plaid_items", "plaid_access_token", item_id)) for item_id, sealed in rows
        ]
        after = rows[-1][0]
        await connection.execute(REVEAL, {"ids": [item_id for item_id, _ in rows], "plain": plain})


def _reads(stored: str, reveal: Reveal) -> bool:
    try:
        reveal(stored)
    except EncryptionError:
        return False
    return True
