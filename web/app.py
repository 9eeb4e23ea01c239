"""The ASGI application: opens the process's resources, and closes them at the end."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import FastAPI

from core.plaid.webhook_verification import WebhookKeys
from core.resources import Resources, open_resources
from core.settings import Settings, load_settings
from core.telemetry.fleet import Fleet
from web.routes import health, metrics, webhooks

Opener = Callable[[Settings], AbstractAsyncContextManager[Resources]]


def make_app(settings: Settings | None = None, opener: Opener = open_resources) -> FastAPI:
    """Return the application of these settings; nothing is opened before it starts."""
    chosen = settings or load_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opener(chosen) as resources:
            app.state.resources = resources
            app.state.fleet = Fleet(resources)
            app.state.webhook_keys = WebhookKeys(resources.plaid.webhook_verification_key)
            yield

    app = FastAPI(title="Manna Sync", version="0.1.0", lifespan=lifespan)
    app.include_router(webhooks.router)
    app.include_router(health.router)
    app.include_router(metrics.router)
    return app
