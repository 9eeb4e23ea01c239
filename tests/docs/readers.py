"""What is there when somebody turns to a page: a fleet with failures, a new key, an administrator's database.

`READERS` names the pages that need more than an empty service. Each fills `words`, which stand on the page for what a
reader has of their own, and adds to `environment`.
"""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import asyncpg
import httpx
from sqlalchemy import make_url, text

from core.audit import AuditContext, AuditEventType, log_audit_event
from core.audit.checkpoints import export_checkpoints, sign_checkpoints
from core.audit.signing import load_signing_key
from core.audit.sink import seal_outbox
from core.encryption import EncryptionKeyProvider
from core.encryption.keyring import current_keyring
from core.errors import OperatorMustActError, UserMustActError
from core.identity import new_id
from core.items.registration import NewItem, register_items
from core.models import SyncTrigger
from core.resources import Resources, open_resources
from core.settings import load_settings
from core.sync.sync_item import sync_item
from devstack.places import answers, free_port
from devstack.stack import QUIET, SYNC_QUEUES
from tests.conftest import ROOT
from tests.integration.plaid_script import PlaidScript, page, transaction
from tests.journal.conftest import JournalFleet
from tests.own_postgres import open_postgres

NO_TIME = timedelta(0)
LEGACY = ROOT / "tests" / "rotation" / "legacy.json"


@dataclass
class Reader:
    """Who follows a page: their folder, their terminal's environment, and the words that they fill in."""

    folder: Path
    environment: dict[str, str]
    simulator: str
    supervisor: object
    set_variable: Callable[[str, str], None]
    words: dict[str, str] = field(default_factory=dict)
    endings: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    def give(self, **variables: str) -> None:
        """Set variables for this process and for the reader's."""
        for name, value in variables.items():
            self.set_variable(name, value)
            self.environment[name] = value

    @asynccontextmanager
    async def process(self) -> AsyncIterator[Resources]:
        async with open_resources(load_settings()) as opened:
            yield opened

    def finds(self, program: str) -> str:
        """Return what the reader's terminal runs for a name."""
        return shutil.which(program, path=self.environment["PATH"]) or program

    def start(self, name: str, program: str, *arguments: str, **variables: str) -> None:
        """Start a process that stays."""
        log = self.folder.parent / f"{name}.log"
        argv, env = [self.finds(program), *arguments], self.environment | variables
        self.supervisor.start(name, argv, log=log, env=env, cwd=self.folder)

    def wait(self, name: str, word: str) -> None:
        """Return once a process has said a word."""
        log = self.folder.parent / f"{name}.log"
        self.supervisor.wait_ready(name, lambda: word in log.read_text(errors="replace"))

    def start_web(self) -> str:
        """Serve the API, and return its address."""
        port = free_port()
        self.start("web", "manna", "web", "--port", str(port))
        self.supervisor.wait_ready("web", lambda: answers(port))
        return f"localhost:{port}"

    async def linked(self, count: int) -> list[dict]:
        """Let the bank make Items, and return what Plaid would have told of each."""
        async with httpx.AsyncClient(base_url=self.simulator) as bank:
            made = await bank.post("/control/items", json={"count": count, "transactions": 5})
        return made.json()["items"]

    async def registered(self, process: Resources, count: int) -> list:
        """Link Items and hand them to the service."""
        many = [NewItem("u", one["item_id"], one["access_token"], "ins_3") for one in await self.linked(count)]
        return await register_items(process.database, many, "operator:test")


async def one_item(reader: Reader) -> None:
    """An Item that was linked elsewhere, with its token in a file."""
    (linked,) = await reader.linked(1)
    (reader.folder / "token.txt").write_text(linked["access_token"])
    reader.words["ITEM_ID"] = linked["item_id"]


async def three_rows_under_an_old_key(reader: Reader) -> None:
    """Every process has been given the new key and the old one, as the page's second step says."""
    async with reader.process() as process:
        await reader.registered(process, 3)
        reader.words["OLD_KEY_ID"] = current_keyring().primary.key_id
    old = reader.environment["MANNA_ENCRYPTION_KEY"]
    reader.give(
        MANNA_ENCRYPTION_KEY=EncryptionKeyProvider.generate_key(),
        MANNA_ENCRYPTION_KEYS_PREVIOUS=old,
        KEYRING_REFRESH_SECONDS="1",
    )


async def tokens_of_other_libraries(reader: Reader) -> None:
    """A table from before the revision that encrypts, with tokens of one library, and a file with those of another."""
    made = json.loads(LEGACY.read_text())["tokens"]
    in_place = [one for one in made if one["format"] == "sqlalchemy-utils-aes-gcm"]
    in_file = [one for one in made if one["format"] == "multifernet"]
    command = [reader.finds("alembic"), "downgrade", "20250912_0000"]
    await asyncio.to_thread(subprocess.run, command, env=reader.environment, check=True, capture_output=True)
    connection = await asyncpg.connect(reader.environment["DATABASE_URL"])
    rows = [(new_id(), f"itm{number}", one["stored"]) for number, one in enumerate(in_place)]
    insert = "INSERT INTO plaid_items (id, user_id, plaid_item_id, plaid_access_token) VALUES ($1, 'u', $2, $3)"
    await connection.executemany(insert, rows)
    await connection.close()
    lines = (
        json.dumps({"user_id": "u", "plaid_item_id": f"other{number}", "access_token": one["stored"]})
        for number, one in enumerate(in_file)
    )
    for name, content in {
        "old-key.txt": in_place[0]["key"],
        "fernet-keys.txt": in_file[0]["key"],
        "items.ndjson": "\n".join(lines),
    }.items():
        (reader.folder / name).write_text(content)


async def a_signed_chain(reader: Reader) -> None:
    """Sealed and signed events, with their checkpoints outside, and the auditor's one file at hand."""
    worm = reader.folder.parent / "worm"
    worm.mkdir()
    reader.words["/mnt/worm"] = str(worm)
    reader.give(AUDIT_SIGNING_KEY=EncryptionKeyProvider.generate_key())
    async with reader.process() as process:
        for _ in range(3):
            context = AuditContext(version=1)
            await log_audit_event(AuditEventType.ITEM_SYNCED, "A test", database=process.database, context=context)
        await seal_outbox(process.database)
        await sign_checkpoints(process.database, load_signing_key(process.settings), longest_unsigned=NO_TIME)
        await export_checkpoints(process.database, worm)
    shutil.copy(ROOT / "scripts" / "verify_audit.py", reader.folder)


async def a_fleet_that_fails(reader: Reader) -> None:
    """Items that fail in each of the ways of the page, and a service at work."""
    reader.give(PAGE_JOURNAL_DAYS="3", SYNC_DISPATCH_SECONDS="1")
    key_was_wrong = OperatorMustActError("DECRYPTION_FAILED", error_type="MANNA")
    log_in_again = UserMustActError("ITEM_LOGIN_REQUIRED", error_type="ITEM_ERROR")
    async with reader.process() as process:

        async def fail(count, error):
            for item_id in (ids := await reader.registered(process, count)):
                await sync_item(replace(process, plaid=PlaidScript(error)), item_id, SyncTrigger.SCHEDULED)
            return ids

        await fail(2, key_was_wrong)
        await fail(3, log_in_again)
        await fail(1, UserMustActError("NO_ACCOUNTS", error_type="ITEM_ERROR"))
        (set_aside,) = await fail(1, OperatorMustActError("INVALID_FIELD", error_type="INVALID_INPUT"))
        (lost,) = await reader.registered(process, 1)
        run_id = await JournalFleet(process).lose_commit(lost, page([transaction("a")]))
        async with process.database.connection() as connection:
            await connection.execute(text("UPDATE plaid_items SET status = 'error' WHERE id = :id"), {"id": set_aside})
            # Nothing of it heals by itself while the page is read.
            await connection.execute(text("UPDATE plaid_items SET next_sync_at = now() + interval '1 day'"))
    newest = "import json, sys; print(json.load(sys.stdin)[0]['id'])"
    reader.words |= {"RUN_ID": str(run_id), "REPLAY_ID": f'$(manna syncs replays --json | python -c "{newest}")'}
    reader.start("worker", "celery", "-A", "worker", "worker", "-Q", SYNC_QUEUES, *QUIET)
    reader.start("beat", "celery", "-A", "worker", "beat")
    reader.wait("worker", "ready")


async def an_administrator_s_database(reader: Reader) -> None:
    """A database with nothing in it, an administrator's log-in, and the page's places below the reader's folder."""
    server = ExitStack()
    # A server of its own: while the roles are there, every migration beside this page would grant to them.
    postgres = server.enter_context(open_postgres())
    reader.give(DATABASE_URL=postgres.url)
    url = make_url(postgres.url)
    example = "postgresql://{}@db.example/manna?sslmode=verify-full&sslrootcert=/etc/manna/ca.pem"
    for role, name in (("postgres", url.username), ("manna_owner", "manna_owner")):
        own = url._replace(username=name, password=None).render_as_string()
        reader.words[example.format(role)] = own
    reader.words["/etc/manna"] = str(reader.folder.parent / "etc")
    reader.give(
        ADMIN_PASSWORD=url.password, SECRETS_PROVIDER="file", SECRETS_DIRECTORY=reader.words["/etc/manna"] + "/secrets"
    )

    async def stop() -> None:
        server.close()

    reader.endings.append(stop)


READERS: dict[str, Callable[[Reader], Awaitable[None]]] = {
    "how-to/link-items.md": one_item,
    "how-to/migrate-tokens.md": tokens_of_other_libraries,
    "how-to/replay-failed-syncs.md": a_fleet_that_fails,
    "how-to/rotate-keys.md": three_rows_under_an_old_key,
    "how-to/set-up-production.md": an_administrator_s_database,
    "how-to/verify-the-audit-log.md": a_signed_chain,
}
