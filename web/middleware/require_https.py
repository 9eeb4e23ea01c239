"""Refuses plain HTTP. No redirect: what had to be kept secret has been sent in the clear by then."""

from starlette.types import ASGIApp, Receive, Scope, Send

from web.problems import problem

# An orchestrator probes from beside us, and so does Prometheus, without a certificate.
EXEMPT = ("/health", "/metrics")


class RequireHttps:
    """Answers 403 to whatever did not come by HTTPS, to us or to a trusted proxy before us."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exempt = scope["type"] != "http" or scope["path"] in EXEMPT or scope["path"].startswith("/health/")
        if exempt or scope["scheme"] == "https":
            await self._app(scope, receive, send)
            return
        scope["state"]["refusal"] = "https_required"
        await problem(403, "https-required", "this service answers over HTTPS only")(scope, receive, send)
