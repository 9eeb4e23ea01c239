"""The outbound budget on the real Valkey. Redis's clock is replaced, so that minutes pass without waiting."""

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st
from redis.asyncio import Redis
from structlog.testing import capture_logs

from core.errors import ConfigurationError, RetryLaterError
from core.models import SyncTrigger
from core.plaid.limits import Budget, Limits, Priority, Scope
from core.plaid.shared_budget import CLIENT_KEY, SharedBudget
from core.settings import load_settings
from devstack.places import free_port

MINUTE = 60_000
LATENESS = MINUTE // 80
URGENT, SCHEDULED, BACKFILL = Priority


class Clock:
    """Redis's clock in milliseconds, moved by hand."""

    def __init__(self):
        self.now = 1_790_000_000_000

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def redis(redis_url) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as client:
        yield client


async def spent_at_once(budget, item_key, priority=SCHEDULED):
    """Spend until the budget turns a call away; return how many went through and when to come again."""
    for count in range(100_000):
        try:
            await budget.spend(item_key(count) if callable(item_key) else item_key, priority)
        except RetryLaterError as error:
            return count, error
    raise AssertionError("the budget has no end")


async def saturate(shared, clock, milliseconds, priority, poll=150):
    """Ask every `poll` milliseconds for more than there is; return the moment of every grant."""
    granted = []
    end = clock.now + milliseconds
    while clock.now < end:
        asking = [(f"{clock.now}-{number}", priority) for number in range(20)]
        answer = await shared.spend(asking, 0, 0)
        granted += [clock.now] * (sum(told > 0 for told in answer.items) + answer.tokens)
        clock.now += poll
    return granted


def most_in_a_window(moments, window=MINUTE):
    """Return the most calls that any sliding window sees when each may arrive late."""
    span = window + LATENESS
    return max((bisect_left(moments, start + span) - index for index, start in enumerate(moments)), default=0)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Limits(50, 1000)),
        ({"PLAID_ENV": "production"}, Limits(50, 2500)),
        ({"PLAID_RATE_PER_ITEM_PER_MINUTE": "0", "PLAID_RATE_PER_CLIENT_PER_MINUTE": "0"}, Limits(50, 1000)),
        ({"PLAID_RATE_PER_ITEM_PER_MINUTE": "20", "PLAID_RATE_PER_CLIENT_PER_MINUTE": "9"}, Limits(20, 9)),
    ],
)
def test_limits_are_plaids_published_ones_unless_set(environment, expected, monkeypatch):
    for name, value in ({"MANNA_ENVIRONMENT": "test"} | environment).items():
        monkeypatch.setenv(name, value)
    assert Limits.of(load_settings()) == expected


def test_a_rate_below_nothing_is_named_in_one_line(monkeypatch):
    monkeypatch.setenv("PLAID_RATE_PER_ITEM_PER_MINUTE", "-1")
    with pytest.raises(ConfigurationError, match=r"^PLAID_RATE_PER_ITEM_PER_MINUTE .*greater than or equal to 0$"):
        load_settings()


def test_people_and_webhooks_pass_before_the_schedule_and_the_schedule_before_backfill():
    ranks = {trigger: Priority.of(trigger) for trigger in SyncTrigger}
    assert [trigger for trigger, rank in ranks.items() if rank is URGENT] == [
        trigger for trigger in SyncTrigger if trigger in {SyncTrigger.WEBHOOK, SyncTrigger.MANUAL, SyncTrigger.REPLAY}
    ]
    assert (ranks[SyncTrigger.SCHEDULED], ranks[SyncTrigger.BACKFILL]) == (SCHEDULED, BACKFILL)


async def test_an_item_may_burst_to_its_limit_and_is_then_told_when_to_come_again(redis, clock):
    budget = Budget(redis, Limits(50, 100_000), patience_seconds=0, clock=clock)
    count, error = await spent_at_once(budget, "a")
    assert (count, error.error_code) == (50, "OUTBOUND_BUDGET")
    assert 60 <= error.retry_after <= 85

    await budget.spend("another", SCHEDULED)
    clock.now += MINUTE + 5000
    await budget.spend("a", SCHEDULED)


async def test_two_processes_share_one_budget(redis, clock):
    first, second = (Budget(redis, Limits(50, 1000), patience_seconds=0, clock=clock) for _ in range(2))
    for budget in (first, second):
        for _ in range(20):
            await budget.spend("a", URGENT)
    counts = [(await spent_at_once(budget, "a", URGENT))[0] for budget in (first, second)]
    assert 40 + sum(counts) == 50


async def test_an_idle_client_lets_half_of_its_limit_pass_at_once_and_spreads_the_rest(redis, clock):
    shared = SharedBudget(redis, Limits(50, 600), clock)
    moments = await saturate(shared, clock, MINUTE, BACKFILL)
    started = moments[0]
    assert 270 <= sum(moment < started + 3000 for moment in moments) <= 330
    by_ten_seconds = [
        sum(started + s <= moment < started + s + 10_000 for moment in moments) for s in range(10_000, MINUTE, 10_000)
    ]
    assert all(35 <= count <= 65 for count in by_ten_seconds)


@pytest.mark.parametrize("priority", list(Priority))
async def test_a_saturated_fleet_uses_95_percent_of_every_minute_evenly_and_never_more_than_all(redis, clock, priority):
    shared = SharedBudget(redis, Limits(50, 600), clock)
    moments = await saturate(shared, clock, 4 * MINUTE, priority, poll=250)
    assert most_in_a_window(moments) <= 600
    started = moments[0]
    minutes = [sum(started + m * MINUTE <= t < started + (m + 1) * MINUTE for t in moments) for m in range(4)]
    assert min(minutes) >= 570
    later = [moment for moment in moments if moment >= started + 2 * MINUTE]
    assert max(after - before for before, after in pairwise(later)) < 3000


@profile(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([0, 1, 40, 499, 750, 3000, 20_000, 59_999, 61_000]),
            st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(list(Priority))), min_size=4, max_size=20),
            st.integers(0, 3),
        ),
        min_size=8,
        max_size=40,
    ),
    per_item=st.integers(1, 12),
    per_client=st.integers(1, 30),
)
def test_no_window_ever_sees_more_than_the_limits_whatever_is_asked_when(redis_url, steps, per_item, per_client):
    async def run():
        clock = Clock()
        granted, by_item, left = [], {}, (0, 0)
        async with Redis.from_url(redis_url) as client:
            await client.flushdb()
            shared = SharedBudget(client, Limits(per_item, per_client), clock)
            for advance, asking, unused in steps:
                clock.now += advance
                returned = min(unused, left[0])
                for _ in range(returned):
                    granted.remove(left[1])
                answer = await shared.spend(asking, returned, answer_slot(left))
                for (item_key, _), told in zip(asking, answer.items, strict=True):
                    granted += [clock.now] * (told > 0)
                    by_item.setdefault(item_key, []).extend([clock.now] * max(0, int(told)))
                granted += [clock.now] * answer.tokens
                left = (answer.tokens, clock.now)
        assert most_in_a_window(granted) <= per_client
        assert all(most_in_a_window(moments) <= per_item for moments in by_item.values())

    asyncio.run(run())


def answer_slot(left):
    """Return the slot of the client's meter that a share was counted in."""
    return left[1] // (MINUTE // 120)


async def test_webhooks_pass_at_once_while_a_backfill_takes_all_it_can_get(redis, clock):
    shared = SharedBudget(redis, Limits(50, 600), clock)
    for number in range(150):
        await saturate(shared, clock, 1000, BACKFILL, poll=200)
        assert (await shared.spend([(f"webhook-{number}", URGENT)], 0, 0)).items[0] > 0


async def test_backfill_leaves_two_hundredths_of_the_limit_free_also_when_a_burst_comes_back(redis, clock):
    shared = SharedBudget(redis, Limits(50, 600), clock)
    totals = []
    for _ in range(1000):
        totals.append((await shared.spend([(f"{clock.now}-{n}", BACKFILL) for n in range(20)], 0, 0)).total)
        clock.now += 150
    assert 580 <= max(totals) <= 588


async def test_lower_priorities_wait_behind_urgent_work_but_never_starve(redis, clock):
    shared = SharedBudget(redis, Limits(50, 600), clock)
    await saturate(shared, clock, MINUTE, URGENT)
    counts = dict.fromkeys(Priority, 0)
    for _ in range(600):
        asking = [(f"{clock.now}-{priority}-{number}", priority) for priority in Priority for number in range(10)]
        answer = await shared.spend(asking, 0, 0)
        for (_, priority), told in zip(asking, answer.items, strict=True):
            counts[priority] += told > 0
        clock.now += 100
    assert counts[URGENT] > 450
    assert min(counts[SCHEDULED], counts[BACKFILL]) >= 20


async def test_what_a_killed_worker_had_reserved_comes_back_within_a_window(redis, clock):
    shared = SharedBudget(redis, Limits(50, 600), clock)
    answer = await shared.spend([("a", URGENT)], 0, 0)
    assert answer.tokens > 0
    clock.now += MINUTE + LATENESS + 500
    assert (await shared.spend([("b", URGENT)], 0, 0)).total == answer.total


async def test_a_share_that_was_not_spent_is_given_back(redis, clock):
    shared = SharedBudget(redis, Limits(50, 600), clock)
    first = await shared.spend([("a", URGENT)], 0, 0)
    second = await shared.spend([("b", URGENT)], first.tokens, first.slot)
    assert second.total == 2 + second.tokens


async def test_a_429_slows_the_client_down_once_for_all_calls_under_way_and_it_recovers_slowly(redis, clock):
    shared = SharedBudget(redis, Limits(50, 600), clock)
    told = [await shared.refused("a", Scope.CLIENT, None) for _ in range(5)]
    assert told == [(Scope.CLIENT, 0.9)] * 5
    clock.now += 1000
    assert (await shared.refused("b", Scope.CLIENT, None))[1] == pytest.approx(0.811, abs=0.001)
    for minutes, share in ((0.1, 0.82), (1, 0.92), (1, 1.0)):
        clock.now += int(minutes * MINUTE)
        assert (await shared.spend([("a", URGENT)], 0, 0)).share == pytest.approx(share, abs=0.01)


async def test_retry_after_is_honoured_to_the_second_for_the_client_and_for_an_item(redis, clock):
    budget = Budget(redis, Limits(50, 600), patience_seconds=0, clock=clock)
    await budget.refused("a", Scope.ITEM, 30)
    with pytest.raises(RetryLaterError) as postponed:
        await budget.spend("a", URGENT)
    assert 30 <= postponed.value.retry_after <= 40
    await budget.spend("b", URGENT)

    await budget.refused("b", Scope.CLIENT, 10)
    clock.now += 9999
    with pytest.raises(RetryLaterError):
        await budget.spend("c", URGENT)
    clock.now += 1
    await budget.spend("c", URGENT)


async def test_a_429_that_does_not_say_for_what_slows_the_fuller_of_the_two(redis, clock):
    shared = SharedBudget(redis, Limits(50, 600), clock)
    for _ in range(40):
        await shared.spend([("busy", URGENT)], 0, 0)
    assert (await shared.refused("busy", Scope.UNKNOWN, None))[0] is Scope.ITEM
    assert (await shared.refused("calm", Scope.UNKNOWN, None))[0] is Scope.CLIENT


async def test_a_server_whose_clock_went_back_does_not_stop_the_fleet(redis, clock):
    shared = SharedBudget(redis, Limits(50, 600), clock)
    await saturate(shared, clock, MINUTE, URGENT)
    clock.now -= 60 * MINUTE
    assert (await shared.spend([("a", URGENT)], 0, 0)).items[0] > 0


async def test_the_keys_go_when_nobody_spends(redis):
    budget = Budget(redis, Limits(50, 600))
    await budget.spend("a", URGENT)
    lives = [await redis.pttl(key) for key in await redis.keys()]
    assert len(lives) == 2
    assert all(MINUTE < life < 70_000 for life in lives)


async def test_calls_wait_for_their_turn_in_order_of_priority_then_of_arrival(redis):
    budget = Budget(redis, Limits(10, 10, window_seconds=0.6))
    await redis.hset(CLIENT_KEY, "held", await milliseconds(redis) + 300)
    order = []

    async def call(name, priority):
        await budget.spend(name, priority)
        order.append(name)

    asking = [("b1", BACKFILL), ("s1", SCHEDULED), ("u1", URGENT), ("b2", BACKFILL), ("u2", URGENT), ("s2", SCHEDULED)]
    await asyncio.gather(*(call(*one) for one in asking))
    assert order == ["u1", "u2", "s1", "s2", "b1", "b2"]
    assert budget.figures().waits == 6


async def milliseconds(redis):
    seconds, micros = await redis.time()
    return seconds * 1000 + micros // 1000


async def test_many_pages_of_one_item_and_many_items_all_come_through(redis):
    first, second = (Budget(redis, Limits(8, 20, window_seconds=0.6)) for _ in range(2))
    calls = [(first if n % 2 else second).spend(f"item-{n % 3}", Priority(n % 3)) for n in range(48)]
    await asyncio.gather(*calls)
    assert first.figures().spent + second.figures().spent == 48
    assert first.figures().waiting == second.figures().waiting == 0


async def test_a_page_chain_in_times_of_plenty_asks_redis_for_few_of_its_pages(redis, clock, monkeypatch):
    budget = Budget(redis, Limits(50, 2500), clock=clock)
    questions = []
    spend = SharedBudget.spend

    async def counted(shared, *asked):
        questions.append(asked)
        return await spend(shared, *asked)

    monkeypatch.setattr(SharedBudget, "spend", counted)
    for _ in range(20):
        await budget.spend("long", BACKFILL)
    assert budget.figures().spent == 20
    # More than every fourth page only if this machine took half a second between two of them.
    assert len(questions) < 20


async def test_a_restarted_redis_that_has_forgotten_everything_is_asked_again(redis):
    budget = Budget(redis, Limits(50, 2500))
    await budget.spend("a", URGENT)
    await redis.flushdb()
    await redis.script_flush()
    for number in range(5):
        await budget.spend(f"item-{number}", URGENT)
    assert not budget.figures().alone


async def test_a_cancelled_call_leaves_the_queue(redis, clock):
    budget = Budget(redis, Limits(1, 600), patience_seconds=1000, clock=clock)
    await budget.spend("a", URGENT)
    waiting = asyncio.create_task(budget.spend("a", URGENT))
    await asyncio.sleep(0)
    assert budget.figures().waiting == 1
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert budget.figures().waiting == 0
    await budget.close()


async def test_closing_turns_away_who_still_waits(redis, clock):
    budget = Budget(redis, Limits(1, 600), patience_seconds=1000, clock=clock)
    await budget.spend("a", URGENT)
    waiting = asyncio.create_task(budget.spend("a", URGENT))
    await asyncio.sleep(0)
    assert budget.figures().waiting == 1
    await budget.close()
    with pytest.raises(RetryLaterError, match="OUTBOUND_BUDGET"):
        await waiting


async def test_without_redis_calls_go_on_slowly_and_it_is_logged_once():
    async with Redis.from_url(f"redis://127.0.0.1:{free_port()}/0") as nowhere:
        # A twentieth of the rate: one call each 2 ms.
        budget = Budget(nowhere, Limits(10_000, 600_000))
        with capture_logs() as logs:
            await asyncio.gather(*(budget.spend(f"item-{number}", URGENT) for number in range(10)))
            await budget.refused("item-1", Scope.CLIENT, 60)
        figures = budget.figures()
    assert (figures.spent, figures.postponed, figures.refused, figures.alone) == (10, 0, 1, True)
    assert [entry["event"] for entry in logs] == ["plaid_budget_alone"]


async def test_the_figures_tell_what_is_left(redis, clock):
    budget = Budget(redis, Limits(1, 600), patience_seconds=0, clock=clock)
    await budget.spend("a", URGENT)
    with pytest.raises(RetryLaterError):
        await budget.spend("a", URGENT)
    figures = budget.figures()
    assert (figures.limit, figures.spent, figures.postponed, figures.adapted_share) == (600, 1, 1, 1.0)
    assert figures.remaining_share == pytest.approx(599 / 600)
