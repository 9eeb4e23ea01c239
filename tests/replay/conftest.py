"""Items that fail, and what a replay puts on the queue."""

import base64
import json
from dataclasses import replace

import pytest
from sqlalchemy import text

from core.broker.messages import Queue
from core.errors import OperatorMustActError
from core.items.registration import NewItem, register_items
from core.models import SyncTrigger
from core.sync.sync_item import sync_item
from tests.integration.plaid_script import PlaidScript, page, transaction

REFUSED = OperatorMustActError("INVALID_FIELD", error_type="INVALID_INPUT")


class Fleet:
    """Some Items, and how they fare."""

    def __init__(self, resources):
        self.resources = resources

    async def add(self, count, institution="ins_1"):
        many = [NewItem("u", f"{institution}-{number}", "access-sandbox-1", institution) for number in range(count)]
        return await register_items(self.resources.database, many, "operator:test")

    async def fail(self, item_ids, error=REFUSED, trigger=SyncTrigger.SCHEDULED):
        for item_id in item_ids:
            await sync_item(replace(self.resources, plaid=PlaidScript(error)), item_id, trigger)

    async def succeed(self, item_ids, trigger=SyncTrigger.REPLAY):
        for item_id in item_ids:
            await sync_item(replace(self.resources, plaid=PlaidScript(page([transaction("a")]))), item_id, trigger)

    async def run(self, statement, **values):
        async with self.resources.database.connection() as connection:
            return await connection.execute(text(statement), values)

    async def all(self, statement, **values):
        return [tuple(row) for row in await self.run(statement, **values)]

    async def sent(self):
        """Take the Items off the replay queue, in the order in which they were put on it."""
        taken = await self.taken("sync.items")
        assert {arguments["trigger"] for arguments in taken} <= {"replay"}
        return [item_id for arguments in taken for item_id in arguments["item_ids"]]

    async def taken(self, wire_name):
        """Take the messages off the replay queue, which are all of one name, and return their arguments."""
        taken = []
        while raw := await self.resources.redis.rpop(Queue.REPLAY.value):
            message = json.loads(raw)
            _, arguments, _ = json.loads(base64.b64decode(message["body"]))
            assert message["headers"]["task"] == wire_name
            taken.append(arguments)
        return taken

    async def pass_time(self, seconds):
        """Let the running replays believe that so much time went by."""
        await self.run("UPDATE replays SET paced_at = paced_at - make_interval(secs => :s)", s=seconds)


@pytest.fixture
def fleet(resources):
    return Fleet(resources)
