"""What can happen, in any order: the rules of the state machine. What they do is in the fleet."""

import asyncio

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.machine.meetings import Meetings

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

DURING_A_SYNC = st.sampled_from(
    ["it_changes", "a_rival_commits", "it_is_removed", "its_user_takes_it_back", "its_token_is_replaced"]
)
DURING_A_ROTATION = st.sampled_from(
    [
        "it_is_removed",
        "it_is_removed_without_its_lease",
        "its_user_takes_it_back",
        "its_token_is_replaced",
        "it_is_synced_without_its_lease",
    ]
)
PHASE = st.sampled_from(["request", "response"])
PAGE = st.sampled_from(["first", "middle"])
REMOVALS = 3


class Machine(RuleBasedStateMachine):
    """One run of the machine, from an empty fleet to its end."""

    fleet: Meetings
    runner: asyncio.Runner
    begun = 0

    def __init__(self):
        super().__init__()
        type(self).begun += 1
        self.is_broken = False
        self.run(self.fleet.begin())

    def run(self, doing):
        try:
            return self.runner.run(doing)
        except BaseException:
            self.is_broken = True
            raise

    @initialize(replaced_token_is_unknown=st.booleans(), cursors_survive=st.sampled_from([True, True, False]))
    def what_plaid_does_not_publish(self, **policy):
        self.run(self.fleet.control("policy", **policy))

    def take(self, place):
        return self.fleet.queue.pop(place % len(self.fleet.queue))

    def is_queued(self):
        return bool(self.fleet.queue)

    def has_room(self):
        return len(self.fleet.working) < 3

    def may_remove(self):
        return len(self.fleet.former) < REMOVALS

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
            self.run(self.fleet.deliver(message))

    @precondition(is_queued)
    @rule(place=PLACE)
    def lose(self, place):
        self.fleet.trouble()
        self.take(place)

    @precondition(is_queued)
    @rule(place=PLACE, step=STEP)
    def kill(self, place, step):
        self.fleet.trouble()
        self.run(self.fleet.work(self.take(place), step))

    @precondition(is_queued)
    @rule(place=PLACE, which=WHICH, fault=FAULTS)
    def deliver_with_a_fault(self, place, which, fault):
        self.fleet.trouble()
        self.run(self.fleet.fault(self.fleet.items[which], **fault))
        self.run(self.fleet.work(self.take(place)))

    @precondition(is_queued)
    @rule(place=PLACE)
    def deliver_beside_the_lease(self, place):
        self.fleet.trouble()
        self.run(self.fleet.work(self.take(place), leased=False))

    @precondition(lambda self: self.is_queued() and self.has_room())
    @rule(place=PLACE, phase=PHASE, page=PAGE)
    def hold(self, place, phase, page):
        self.run(self.fleet.hold(self.take(place), phase=phase, page=page))

    @precondition(is_working)
    @rule(how=st.sampled_from(["continue", "cut"]))
    def go_on(self, how):
        self.run(self.fleet.go_on(self.fleet.working.pop(), how))

    @precondition(is_working)
    @rule()
    def cancel(self):
        self.run(self.fleet.cancel(self.fleet.working.pop()))

    @rule()
    def flush_redis(self):
        self.run(self.fleet.redis_forgets())

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

    @rule(which=WHICH)
    def tell_and_take_back(self, which):
        self.run(self.fleet.tell_and_take_back(self.fleet.items[which]))

    @rule(which=WHICH)
    def post_without_removal(self, which):
        self.run(self.fleet.post_without_removal(self.fleet.items[which]))

    @rule(which=WHICH)
    def lose_rows_and_repair(self, which):
        self.run(self.fleet.lose_rows_and_repair(self.fleet.items[which]))

    @rule(which=WHICH, is_database_away=st.booleans())
    def rotate(self, which, is_database_away):
        self.run(self.fleet.rotate(self.fleet.items[which], is_database_away=is_database_away))

    @rule(which=WHICH, step=st.integers(0, 14))
    def kill_a_rotation(self, which, step):
        self.run(self.fleet.rotate(self.fleet.items[which], step))

    @precondition(has_room)
    @rule(which=WHICH, phase=PHASE)
    def hold_a_rotation(self, which, phase):
        self.run(self.fleet.hold_rotation(self.fleet.items[which], phase))

    @precondition(lambda self: self.has_room() and self.may_remove())
    @rule(which=WHICH, what=DURING_A_SYNC, phase=PHASE, page=PAGE)
    def during_a_sync(self, which, what, phase, page):
        self.run(self.fleet.during_a_sync(which, what, phase=phase, page=page))

    @precondition(has_room)
    @rule(which=WHICH)
    def cross(self, which):
        self.run(self.fleet.during_a_sync(which, "a_rival_commits", phase="response", page="first"))

    @precondition(lambda self: self.has_room() and self.may_remove())
    @rule(which=WHICH, what=DURING_A_ROTATION, phase=PHASE)
    def during_a_rotation(self, which, what, phase):
        self.run(self.fleet.during_a_rotation(which, what, phase))

    @precondition(may_remove)
    @rule(which=WHICH, by_its_user=st.booleans())
    def remove(self, which, by_its_user):
        self.run(self.fleet.remove(which, by_its_user=by_its_user))

    @precondition(lambda self: self.fleet.former)
    @rule()
    def revoke(self):
        self.run(self.fleet.revoke())

    @invariant()
    def no_row_is_of_no_time(self):
        self.run(self.fleet.look())

    def teardown(self):
        if not self.is_broken:
            self.run(self.fleet.drain())
