"""A request's id: in its answer, in every log line on its way, and in the one line of a crash."""

import re

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.identity import new_id
from web.problems import crashed

log = structlog.get_logger()

GIVEN = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class RequestId:
    """Takes the caller's `X-Request-ID` if it is a plain word, otherwise makes one; answers a crash with 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _given(scope) or str(new_id())
        scope.setdefault("state", {})["request_id"] = request_id
        started = ended = False

        async def named(message: Message) -> None:
            nonlocal started, ended
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, named)
            except Exception:
                # One line with the traceback, redacted; raising on would have the server write a second one.
                log.exception("request_crashed", method=scope["method"])
                if started and not ended:
                    raise
                if not started:
                    await crashed()(scope, receive, named)


def _given(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and GIVEN.fullmatch(value):
            return str(value.decode())
    return None
