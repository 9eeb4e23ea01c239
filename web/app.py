"""The ASGI application: opens the process's resources, and closes them at the end."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from core.resources import Resources, open_resources
from core.settings import Settings, load_settings
from core.version import VERSION
from web import description, problems
from web.console import app as console
from web.console.page_route import problem_page
from web.middleware.authentication import Authentication
from web.middleware.body_limit import BodyLimit
from web.middleware.problem_pages import ProblemPages
from web.middleware.rate_limit import RateLimit
from web.middleware.refusals import AuditRefusals
from web.middleware.request_id import RequestId
from web.middleware.require_https import RequireHttps
from web.middleware.security_headers import SecurityHeaders
from web.routes import docs, events, health, items, link, metrics, replays, syncs, webhooks
from web.services import open_services

Opener = Callable[[Settings], AbstractAsyncContextManager[Resources]]


class FrontDoor(FastAPI):
    """FastAPI behind our guards: around its own error handling too, so that no answer leaves without them."""

    def __init__(self, settings: Settings, opener: Opener) -> None:
        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            async with opener(settings) as resources, open_services(resources) as services:
                app.state.services = services
                yield

        super().__init__(
            title="Manna Sync",
            version=VERSION,
            lifespan=lifespan,
            # No page of FastAPI's: it loads scripts from elsewhere, which the content security policy forbids.
            docs_url=None,
            redoc_url=None,
            # What a generated client calls its functions by.
            generate_unique_id_function=lambda route: route.name,
        )
        self.settings = settings

    def build_middleware_stack(self) -> ASGIApp:
        """Return the application behind its guards, the outermost last."""
        settings, state = self.settings, self.state
        app: ASGIApp = super().build_middleware_stack()
        if settings.rate_limiting_enabled:
            app = RateLimit(app, settings, lambda: state.services.counter)
        # Looked up at each request: this is built before the services are open.
        app = BodyLimit(Authentication(app, lambda: state.services.signing_keys()))  # noqa: PLW0108 - as said
        if settings.require_https:
            app = RequireHttps(app)
        app = RequestId(AuditRefusals(app, lambda: state.services.refusals))
        app = ProblemPages(app, "/console", problem_page)
        if settings.security_headers_enabled:
            app = SecurityHeaders(app, https=settings.require_https)
        if settings.trusted_proxies:
            app = ProxyHeadersMiddleware(app, list(settings.trusted_proxies))  # type: ignore[arg-type, assignment]  # uvicorn's own ASGI types
        return app


def make_app(settings: Settings | None = None, opener: Opener = open_resources) -> FrontDoor:
    """Return the application of these settings; nothing is opened before it starts."""
    app = FrontDoor(settings or load_settings(), opener)
    app.include_router(webhooks.router)
    app.include_router(health.router)
    app.include_router(metrics.router)
    app.include_router(docs.router)
    api = APIRouter(prefix="/api/v1")
    for router in (link.link_tokens, link.router, items.router, syncs.router, replays.router, events.router):
        api.include_router(router)
    app.include_router(api)
    app.include_router(console.router)
    problems.install(app)
    description.install(app)
    return app
