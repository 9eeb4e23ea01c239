"""Reads a request's body before anybody parses it: at most 64 KiB, at most ten seconds."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.problems import problem

MAX_BYTES = 64 * 1024
RECEIPT_SECONDS = 10.0
CLOSE = {"Connection": "close"}


class _TooLargeError(Exception):
    pass


class _GoneError(Exception):
    pass


class BodyLimit:
    """Hands the application a body that is all there; whoever sends too much or too slowly is let go."""

    def __init__(self, app: ASGIApp, *, max_bytes: int = MAX_BYTES, seconds: float = RECEIPT_SECONDS) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._read(scope, receive)
        except _TooLargeError:
            detail = f"a body has at most {self._max_bytes} bytes"
            await problem(413, "body-too-large", detail, CLOSE)(scope, receive, send)
        except TimeoutError:
            detail = f"the body did not arrive within {self._seconds:.0f} seconds"
            await problem(408, "body-too-slow", detail, CLOSE)(scope, receive, send)
        except _GoneError:
            return
        else:
            await self._app(scope, _again(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        if _declared(scope) > self._max_bytes:
            raise _TooLargeError
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _GoneError
            body += message.get("body", b"")
            if len(body) > self._max_bytes:
                raise _TooLargeError
            if not message.get("more_body", False):
                return bytes(body)


def _has_body(scope: Scope) -> bool:
    return any(name in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"])


def _declared(scope: Scope) -> int:
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return max((int(value) for value in lengths if value.isdigit()), default=0)


def _again(body: bytes, receive: Receive) -> Receive:
    first = True

    async def replay() -> Message:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay
