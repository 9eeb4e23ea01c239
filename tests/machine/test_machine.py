"""Simulator, webhooks, beat, kills and time in any order against the real engine: the ledger is equal in the end.

`MACHINE_EXAMPLES=500 make test ARGS="tests/machine -n 0 --timeout 0"` looks longer, and then makes a failure small.
"""

import asyncio
import os
from contextlib import AsyncExitStack

import httpx
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from tenacity import wait_none

from core.resources import open_resources
from tests.machine.fleet import Fleet
from tests.simulator.conftest import running

LONG = "MACHINE_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("MACHINE_EXAMPLES", "8"))
STEPS = 30

# One Item has most of the troubles, so that they meet.
WHICH = st.sampled_from([0, 0, 0, 1])
PLACE = st.integers(0, 99)
FEW = st.integers(0, 4)
# Where a worker dies: most syncs have between twelve and forty steps.
STEP = st.integers(0, 45)
FAULTS = st.sampled_from(
    [
        {"kind": "mutation"},
        {"kind": "mutation", "times": 9},
        {"kind": "evolve", "page": "middle", "added": 2, "removed": 2, "posted": 1},
        {"kind": "sticky_mutation"},
        {"kind": "foreign_cursor"},
        {"kind": "cursor_outdated"},
        {"kind": "null_cursor"},
        {"kind": "null_cursor", "after": 1},
        {"kind": "empty_page"},
        {"kind": "stuck"},
        {"kind": "split"},
        {"kind": "churn"},
        {"kind": "cut"},
        {"kind": "cut", "phase": "response", "bytes": 200, "times": 3},
        {"kind": "truncate", "bytes": 300},
        {"kind": "html", "times": 3},
        {"kind": "error", "error_code": "INTERNAL_SERVER_ERROR", "times": 2},
        {"kind": "error", "error_code": "TRANSACTIONS_SYNC_LIMIT", "page": "middle"},
        {"kind": "error", "error_code": "INSTITUTION_DOWN", "times": 3},
        {"kind": "error", "error_code": "INVALID_API_KEYS"},
    ]
)


class Machine(RuleBasedStateMachine):
    """The rules; what they do is in `Fleet`."""

    fleet: Fleet
    runner: asyncio.Runner

    def __init__(self):
        super().__init__()
        self.run(self.fleet.begin())

    def run(self, doing):
        return self.runner.run(doing)

    def take(self, place):
        return self.fleet.queue.pop(place % len(self.fleet.queue))

    def is_queued(self):
        return bool(self.fleet.queue)

    def is_working(self):
        return bool(self.fleet.working)

    @rule(which=WHICH, added=FEW, modified=FEW, removed=FEW, posted=FEW, announced=st.booleans())
    def evolve(self, which, announced, **changes):
        item = self.fleet.items[which]
        self.run(self.fleet.evolve(item, **changes))
        if announced:
            self.run(self.fleet.announce(item))

    @rule(which=WHICH)
    def announce(self, which):
        self.run(self.fleet.announce(self.fleet.items[which]))

    @rule()
    def beat(self):
        self.run(self.fleet.beat())

    @precondition(is_queued)
    @rule(place=PLACE, twice=st.booleans())
    def deliver(self, place, twice):
        message = self.take(place)
        for _ in range(1 + twice):
            self.run(self.fleet.work(message))

    @precondition(is_queued)
    @rule(place=PLACE)
    def lose(self, place):
        self.take(place)

    @precondition(is_queued)
    @rule(place=PLACE, step=STEP)
    def kill(self, place, step):
        self.run(self.fleet.work(self.take(place), step))

    @precondition(is_queued)
    @rule(place=PLACE, which=WHICH, fault=FAULTS)
    def deliver_with_a_fault(self, place, which, fault):
        self.run(self.fleet.fault(self.fleet.items[which], **fault))
        self.run(self.fleet.work(self.take(place)))

    @precondition(is_queued)
    @rule(place=PLACE)
    def deliver_beside_the_lease(self, place):
        self.run(self.fleet.work(self.take(place), leased=False))

    @precondition(lambda self: self.is_queued() and len(self.fleet.working) < 3)
    @rule(place=PLACE, phase=st.sampled_from(["request", "response"]), page=st.sampled_from(["first", "middle"]))
    def hold(self, place, phase, page):
        self.run(self.fleet.hold(self.take(place), phase=phase, page=page))

    @precondition(is_working)
    @rule(how=st.sampled_from(["continue", "cut"]))
    def go_on(self, how):
        self.run(self.fleet.go_on(*self.fleet.working.pop(), how))

    @precondition(is_working)
    @rule()
    def cancel(self):
        self.run(self.fleet.cancel(*self.fleet.working.pop()))

    @rule()
    def flush_redis(self):
        self.run(self.fleet.resources.redis.flushdb())

    @rule(leases_run_out=st.booleans())
    def time_passes(self, leases_run_out):
        self.run(self.fleet.time_passes(leases_run_out=leases_run_out))

    @rule(which=WHICH)
    def break_login(self, which):
        item = self.fleet.items[which]
        self.run(self.fleet.control("items/fail", item_id=item.plaid_item_id, announce=False))

    @rule(which=WHICH)
    def repair_login(self, which):
        self.run(self.fleet.repair(self.fleet.items[which]))

    @invariant()
    def no_row_is_of_no_time(self):
        self.run(self.fleet.look())

    def teardown(self):
        self.run(self.fleet.drain())


@pytest.fixture
def machine(settings, tmp_path, monkeypatch):
    monkeypatch.setattr("core.plaid.client.BACKOFF", wait_none())
    monkeypatch.setattr("core.sync.pages.RESTART_SECONDS", 0)
    # Small pages and small updates, so that a dozen transactions take every path.
    monkeypatch.setattr("core.sync.commit.STAGED_PAGES", 3)
    with running(tmp_path / "log") as url, asyncio.Runner() as runner:
        stack = AsyncExitStack()
        small = settings.model_copy(update={"plaid_base_url": url, "sync_page_size": 5})
        resources = runner.run(stack.enter_async_context(open_resources(small)))
        http = runner.run(stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=60)))
        Machine.runner, Machine.fleet = runner, Fleet(resources, http)
        yield Machine
        Machine.fleet.outbox.close()
        runner.run(stack.aclose())


@pytest.mark.timeout(600)
def test_whatever_happens_in_whatever_order_the_ledger_is_equal_in_the_end(machine):
    phases = set(Phase) if LONG else set(Phase) - {Phase.shrink, Phase.explain}
    chosen = hypothesis_settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        print_blob=True,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=chosen)
