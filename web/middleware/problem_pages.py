"""Makes pages of the problem documents that the guards answer with, where a person and not a program reads them."""

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.problems import MEDIA_TYPE

Headers = list[tuple[bytes, bytes]]
Page = Callable[[Request, dict[str, Any], dict[str, str]], Response]
OF_THE_BODY = frozenset({b"content-type", b"content-length"})


class ProblemPages:
    """Below `prefix` hands every problem document to `page`, with the answer's headers; those stay on the page."""

    def __init__(self, app: ASGIApp, prefix: str, page: Page) -> None:
        self._app = app
        self._prefix = prefix
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not f"{scope['path']}/".startswith(f"{self._prefix}/"):
            await self._app(scope, receive, send)
            return
        held: Headers | None = None
        body = b""

        async def shown(message: Message) -> None:
            nonlocal held, body
            if message["type"] == "http.response.start" and _is_problem(message["headers"]):
                held = message["headers"]
            elif held is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    await self._answer(scope, held, body)(scope, receive, send)

        await self._app(scope, receive, shown)

    def _answer(self, scope: Scope, headers: Headers, body: bytes) -> Response:
        told = {name.decode(): value.decode() for name, value in headers}
        answer = self._page(Request(scope), msgspec.json.decode(body), told)
        answer.raw_headers += [header for header in headers if header[0] not in OF_THE_BODY]
        return answer


def _is_problem(headers: Headers) -> bool:
    return (b"content-type", MEDIA_TYPE.encode()) in headers
