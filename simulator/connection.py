"""The HTTP side of one request: read it, answer it whole or in part, see its client go, cut it off."""

import asyncio
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from simulator.call import Answer


class CuttableProtocol(H11Protocol):
    """Uvicorn's HTTP/1.1 that lets the application end a connection: ASGI itself has no word for that."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Put the connection's transport where each of its requests finds it, in the ASGI state."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class Connection:
    """One request's way in and out."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.path: str = scope["path"]
        self.method: str = scope["method"]
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self._transport: asyncio.Transport = scope["state"]["transport"]
        self._receive = receive
        self._send = send

    async def body(self) -> bytes:
        """Return the request's body."""
        parts, more = [], True
        while more:
            message = await self._receive()
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        return b"".join(parts)

    async def gone(self) -> None:
        """Return when the client has gone; only once the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def answer(self, answer: Answer | None) -> None:
        """Send the answer, or cut the connection where the answer says so; None cuts it before the first byte."""
        if answer is None:
            self._transport.abort()
            await self.gone()
            return
        headers = {"content-type": answer.media_type, "content-length": str(len(answer.body)), **answer.headers}
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": answer.status, "headers": raw})
        part: dict[str, Any] = {"type": "http.response.body", "body": answer.body}
        if answer.cut_after is None:
            await self._send(part)
            return
        await self._send(part | {"body": answer.body[: answer.cut_after], "more_body": True})
        self._transport.close()
        await self.gone()
