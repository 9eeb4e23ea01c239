"""What the web process holds open beside its resources, and the loops that keep it fresh."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog
from starlette.requests import Request

from core.access.signing_keys import SigningKeys, load_signing_keys
from core.errors import MannaError
from core.items.overview import Overview, read_overview
from core.plaid.webhook_keys import WebhookKeys
from core.resources import Resources
from core.settings import Settings
from core.telemetry.fleet import Fleet
from core.telemetry.metrics import install_metrics
from core.telemetry.tracing import close_tracing, install_tracing
from core.webhooks.inbox import Inbox
from web.limits import Counter
from web.middleware.refusals import RefusalLog
from web.probes import Probes

log = structlog.get_logger()

SIGNING_KEYS_SECONDS = 30.0
WEBHOOK_KEYS_SECONDS = 600.0
OVERVIEW_SECONDS = 3.0


class LiveSigningKeys:
    """The signing keys as the secrets have them now, looked at every half minute: rotation needs no restart."""

    def __init__(self, settings: Settings) -> None:
        # Development starts without one, and then no token holds.
        self._required = settings.is_production
        self._keys = load_signing_keys(required=self._required)
        if self._keys is None:
            log.warning("api_closed", reason="JWT_SIGNING_KEY is not set: no token can be verified")

    def __call__(self) -> SigningKeys | None:
        """Return the keys."""
        return self._keys

    async def refresh(self) -> None:
        """Look again; what cannot be read leaves the old keys standing."""
        try:
            self._keys = await asyncio.to_thread(load_signing_keys, required=self._required)
        except MannaError as error:
            log.warning("signing_keys_not_refreshed", reason=str(error))


class RecentOverview:
    """The fleet's overview, at most three seconds old: read once for all who look at the same time."""

    def __init__(self, resources: Resources) -> None:
        self._database = resources.database
        self._task: asyncio.Task[Overview] | None = None
        self._asked_at = float("-inf")

    async def __call__(self) -> Overview:
        """Return it.

        Raises:
            SQLAlchemyError: it could not be read, or not in time.
        """
        if self._task is None or (self._task.done() and time.monotonic() - self._asked_at > OVERVIEW_SECONDS):
            self._asked_at = time.monotonic()
            self._task = asyncio.create_task(read_overview(self._database))
        # One who goes away does not take it from the others.
        return await asyncio.shield(self._task)

    async def close(self) -> None:
        """Give up what is under way."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of a running web process."""

    resources: Resources
    inbox: Inbox
    webhook_keys: WebhookKeys
    signing_keys: LiveSigningKeys
    refusals: RefusalLog
    counter: Counter
    probes: Probes
    overview: RecentOverview
    fleet: Fleet


@asynccontextmanager
async def open_services(resources: Resources) -> AsyncIterator[Services]:
    """Open the parts; at the end let what was received be kept, and stop the loops.

    Raises:
        ConfigurationError: production without a signing key, or one that is too short.
    """
    install_metrics()
    install_tracing(resources.settings, "manna-web")
    async with AsyncExitStack() as stack:
        stack.callback(close_tracing)
        signing_keys = LiveSigningKeys(resources.settings)
        inbox = Inbox(resources)
        stack.push_async_callback(inbox.idle)
        webhook_keys = WebhookKeys(resources.plaid.webhook_verification_key)
        stack.push_async_callback(webhook_keys.close)
        refusals = RefusalLog(resources.database)
        probes = Probes(resources)
        stack.push_async_callback(probes.close)
        overview = RecentOverview(resources)
        stack.push_async_callback(overview.close)
        stack.push_async_callback(_cancel, _repeat(signing_keys.refresh, SIGNING_KEYS_SECONDS))
        stack.push_async_callback(_cancel, _repeat(webhook_keys.refresh, WEBHOOK_KEYS_SECONDS))
        counter, fleet = Counter(resources.redis), Fleet(resources)
        yield Services(resources, inbox, webhook_keys, signing_keys, refusals, counter, probes, overview, fleet)


def services_of(request: Request) -> Services:
    """Return the running process's parts."""
    services: Services = request.app.state.services
    return services


def _repeat(action: Callable[[], Awaitable[None]], seconds: float) -> "asyncio.Task[None]":
    async def loop() -> None:
        while True:
            await asyncio.sleep(seconds)
            await action()

    return asyncio.create_task(loop())


async def _cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
