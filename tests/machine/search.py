"""The search: the machine is run with one choice of steps after the other, until something is not as it has to be."""

import asyncio
import time
import traceback
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass

import httpx
from hypothesis import HealthCheck, Phase, seed
from hypothesis import settings as hypothesis_settings
from hypothesis.stateful import run_state_machine_as_test
from tenacity import wait_none

from core.resources import open_resources
from tests.machine.meetings import Meetings
from tests.machine.rules import Machine
from tests.simulator.conftest import running

STEPS = 30
ONLY_GENERATE = set(Phase) - {Phase.shrink, Phase.explain}


@dataclass(frozen=True)
class Found:
    """What the search came upon: after how many runs, and what was said."""

    runs: int
    words: str
    seconds: float


class FoundError(BaseException):
    """Ends the search where it is: Hypothesis would run the same steps again."""


@contextmanager
def open_machine(settings, monkeypatch, log):
    """Give the machine, on a simulator and resources of its own."""
    monkeypatch.setattr("core.plaid.client.BACKOFF", wait_none())
    monkeypatch.setattr("core.sync.pages.RESTART_SECONDS", 0)
    monkeypatch.setattr("core.items.token_rotation.STORE_SECONDS", 0)
    # Small pages and small updates, so that a dozen transactions take every path.
    monkeypatch.setattr("core.sync.commit.STAGED_PAGES", 3)
    with running(log) as url, asyncio.Runner() as runner:
        stack = AsyncExitStack()
        # While steps are chosen nothing runs: what is held meanwhile shall not run out on a slow machine.
        patient = {"plaid_timeout_seconds": 300, "sync_lock_ttl_seconds": 240}
        small = settings.model_copy(update={"plaid_base_url": url, "sync_page_size": 5, **patient})
        resources = runner.run(stack.enter_async_context(open_resources(small)))
        http = runner.run(stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=60)))
        Machine.runner, Machine.fleet = runner, Meetings(resources, http)
        yield Machine
        runner.run(Machine.fleet.end())
        runner.run(stack.aclose())


def run(machine, examples, *, phases=ONLY_GENERATE, **chosen):
    """Run the machine so many times, each time with other steps."""
    settings = hypothesis_settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
        **chosen,
    )
    run_state_machine_as_test(machine, settings=settings)


def search(machine, examples, number):
    """Run the machine with the choices that a seed makes, up to so many times; return what was found first, if any."""

    class Searched(machine):
        begun = 0

        def run(self, doing):
            try:
                return super().run(doing)
            except AssertionError as error:
                raise FoundError(_words(error)) from error

    begun = time.monotonic()
    try:
        run(seed(number)(Searched), examples, phases=[Phase.generate], database=None)
    except FoundError as error:
        return Found(Searched.begun, str(error), time.monotonic() - begun)
    return None


def _words(error):
    """Return what an assertion says, or how it is written if it says nothing."""
    return str(error).partition("\n")[0] or traceback.extract_tb(error.__traceback__)[-1].line
