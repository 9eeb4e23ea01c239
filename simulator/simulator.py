"""The parts of one simulator, and what more than one of them takes part in."""

import asyncio
from random import Random

from simulator.bank.changes import extract
from simulator.bank.item import HISTORICAL, INITIAL, NOT_READY, Item
from simulator.bank.world import World
from simulator.faults import Faults
from simulator.rules.conditions import Rules
from simulator.rules.holds import Holds
from simulator.traffic import Counts, Latency, Limits
from simulator.webhooks import Webhooks


class Simulator:
    """One Plaid: the world, its webhooks, the faults that are set, the traffic, and the one client that may ask."""

    def __init__(self, client_id: str, secret: str, seed: int | None = None) -> None:
        self.client_id = client_id
        self.secret = secret
        self.world = World(seed)
        self.rules = Rules()
        self.holds = Holds()
        self.faults = Faults(self.world, self.rules, self.holds)
        self.webhooks = Webhooks(self.world, self.rules, self.holds)
        self.limits = Limits()
        self.counts = Counts()
        self.latency = Latency()
        self.jitter = Random(seed)  # noqa: S311 - repeatable by its seed; no secret
        # How long each step of fetching a new Item's history takes; None: until the control API takes it.
        self.pace_ms: int | None = 0
        self._extracting: set[asyncio.Task[None]] = set()

    def start_extraction(self, item: Item) -> None:
        """Begin to fetch an Item's history, at once or step by step."""
        item.status = NOT_READY
        if self.pace_ms == 0:
            self.extract_all(item)
        elif self.pace_ms is not None:
            task = asyncio.create_task(self._extract_slowly(item, self.pace_ms / 1000))
            self._extracting.add(task)
            task.add_done_callback(self._extracting.discard)

    def extract_all(self, item: Item) -> None:
        """Fetch all of an Item's history now."""
        while item.status != HISTORICAL:
            self.extract_step(item)

    def extract_step(self, item: Item) -> None:
        """Fetch the last 30 days, or, if they are there, the rest, and announce it."""
        if item.status == HISTORICAL:
            return
        came = extract(self.world, item)
        code = "INITIAL_UPDATE" if item.status == INITIAL else "HISTORICAL_UPDATE"
        self.webhooks.send(item, code, {"new_transactions": came})
        self.webhooks.sync_updates_available(item)

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._extracting:
            task.cancel()
        await self.webhooks.courier.close()

    async def _extract_slowly(self, item: Item, seconds: float) -> None:
        while item.status != HISTORICAL:
            await asyncio.sleep(seconds)
            self.extract_step(item)
