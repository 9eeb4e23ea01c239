"""A bank and a service side by side: the simulator over HTTP, and a process of ours that is driven by hand."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import asyncpg
import httpx
from sqlalchemy import make_url, text

from core.broker.messages import Message, SyncItem, SyncItems
from core.broker.publisher import Publisher
from core.items.registration import NewItem, register_items
from core.models import SyncTrigger
from core.resources import Resources
from core.sync.due import dispatch_due
from core.sync.outcome import Outcome
from core.sync.sync_item import sync_item
from devstack.compare import compare


class Outbox(Publisher):
    """The publisher, with a list in the place of the broker: whoever drives the test delivers."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.sent: list[Message] = []

    def _send(self, message: Message) -> None:
        self.sent.append(message)

    def take(self) -> list[tuple[UUID, SyncTrigger]]:
        """Take all messages, and return the syncs that they ask for."""
        taken, self.sent = self.sent, []
        found = [(one.item_id, one.trigger) for one in taken if isinstance(one, SyncItem)]
        many = [(item_id, one.trigger) for one in taken if isinstance(one, SyncItems) for item_id in one.item_ids]
        return found + many


@dataclass(frozen=True)
class Linked:
    """An Item as we, and as Plaid knows it."""

    id: UUID
    plaid_item_id: str
    institution_id: str
    access_token: str


class World:
    """Both sides, and the comparison of the two."""

    def __init__(self, resources: Resources, http: httpx.AsyncClient) -> None:
        self.outbox = Outbox(resources.settings, resources.redis)
        self.resources = replace(resources, publisher=self.outbox)
        self.http = http

    async def control(self, call: str, **fields: Any) -> Any:
        """Ask the simulator's control API."""
        answer = await self.http.post(f"/control/{call}", json=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def link(self, count: int = 1, **fields: Any) -> list[Linked]:
        """Link Items at the bank and register them with us."""
        made = (await self.control("items", count=count, **fields))["items"]
        new = [NewItem("u1", one["item_id"], one["access_token"], one["institution_id"]) for one in made]
        ids = await register_items(self.resources.database, new, "operator:test")
        return [
            Linked(item_id, one["item_id"], one["institution_id"], one["access_token"])
            for item_id, one in zip(ids, made, strict=True)
        ]

    async def fault(self, item: Linked, kind: str, **fields: Any) -> int:
        """Set a fault for one Item and return its id."""
        return int((await self.control("faults", kind=kind, item_id=item.plaid_item_id, **fields))["fault_id"])

    async def clear(self, *fault_ids: int) -> None:
        """Take faults away."""
        await self.control("faults/clear", fault_ids=list(fault_ids))

    async def evolve(self, item: Linked, **fields: int) -> None:
        """Let the bank's data move on."""
        await self.control("evolve", item_ids=[item.plaid_item_id], **fields)

    async def sync(self, item: Linked, trigger: SyncTrigger = SyncTrigger.MANUAL) -> Outcome:
        """Sync an Item."""
        return await sync_item(self.resources, item.id, trigger)

    def start(self, item: Linked, trigger: SyncTrigger) -> "asyncio.Task[Outcome]":
        """Begin to sync an Item, beside whatever else happens."""
        return asyncio.create_task(self.sync(item, trigger))

    async def tick(self) -> list[tuple[UUID, SyncTrigger]]:
        """Let beat tick, and return what it asked for."""
        await dispatch_due(self.resources)
        return self.outbox.take()

    async def sql(self, statement: str, **given: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a statement."""
        async with self.resources.database.connection() as connection:
            found = await connection.execute(text(statement), given)
            return [tuple(row) for row in found] if found.returns_rows else []

    async def eventually(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        """Look until what goes on beside the test has come to these rows."""
        async with asyncio.timeout(20):
            while await self.sql(statement) != rows:  # noqa: ASYNC110 - what is waited for is in the database
                await asyncio.sleep(0)

    async def one(self, item: Linked, columns: str) -> tuple[Any, ...]:
        """Return columns of an Item."""
        (row,) = await self.sql(f"SELECT {columns} FROM plaid_items WHERE id = :id", id=item.id)
        return row

    async def asked(self, item: Linked) -> int:
        """Return how many pages the bank was asked for."""
        told = await self.control("requests", item_id=item.plaid_item_id, journal=True)
        return sum(one["path"] == "/transactions/sync" for one in told["journal"])

    async def drift(self, *items: Linked) -> tuple[str, ...]:
        """Return where the stored rows differ from the ledger."""
        url = make_url(self.resources.settings.database_url).render_as_string(hide_password=False)
        connection = await asyncpg.connect(url)
        try:
            names = [item.plaid_item_id for item in items]
            return (await compare(connection, str(self.http.base_url), names)).differences
        finally:
            await connection.close()

    async def check(self, *items: Linked) -> None:
        """Hold both sides together: equal rows, a version, a run and an event for each commit, nothing running."""
        assert await self.drift(*items) == ()
        for item in items:
            commits = "SELECT count(*) FROM sync_runs WHERE item_id = :id AND status = 'succeeded'"
            events = "SELECT count(*) FROM audit_outbox WHERE resource = :what AND event_type = 'plaid:item:synced'"
            (version,) = await self.one(item, "version")
            assert await self.sql(commits, id=item.id) == [(version,)]
            assert await self.sql(events, what=f"item:{item.id}") == [(version,)]
            running = "SELECT id FROM sync_runs WHERE item_id = :id AND status = 'running'"
            assert await self.sql(running, id=item.id) == []
        assert await self.sql("SELECT run_id FROM staged_transactions") == []
