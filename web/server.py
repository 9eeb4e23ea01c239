"""The server: uvicorn, with an end to connections that say nothing, or say it too slowly.

uvicorn waits for a request's head as long as its sender likes. Here a head has ten seconds and 32 KiB, from the
connection's first moment on and again after each answer; the body's ten seconds are `web.middleware.body_limit`'s.
What follows a chunked body, its trailers, uvicorn keeps as it keeps headers, and without an end: so the whole of a
request is bounded here too.
"""

import asyncio
import gc
import socket
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from core.errors import ConfigurationError
from web.middleware.security_headers import CLOSED, header_list

HEAD_SECONDS = 10.0
MAX_HEAD_BYTES = 32 * 1024
# A packet holds a body's beginning too, which must not count against the head.
PACKET_BYTES = 256 * 1024
# All that a request may take on the wire: a body of the largest size in chunks of a single byte is 400 kB.
MAX_REQUEST_BYTES = 1024 * 1024
KEEP_ALIVE_SECONDS = 5
GRACE_SECONDS = 20
BAD_REQUEST, TOO_LARGE, HEAD_TOO_LARGE = 400, 413, 431


class DeadlineProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a deadline for a request's head and bounds for the head and the whole."""

    head_seconds = HEAD_SECONDS
    max_head_bytes = MAX_HEAD_BYTES
    max_request_bytes = MAX_REQUEST_BYTES

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._request_bytes = 0
        self._in_head = True
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Start the clock."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Bound a request that comes in pieces; a head that is whole in a single packet is bounded by the packet."""
        self._request_bytes += len(data)
        if self._in_head and self._request_bytes > self.max_head_bytes + PACKET_BYTES:
            self._refuse(HEAD_TOO_LARGE, "the head of the request is too large")
        elif self._request_bytes > self.max_request_bytes:
            self._refuse(TOO_LARGE, "the request is too large")
        else:
            super().data_received(data)

    def on_headers_complete(self) -> None:
        """Stop the clock: from here on the request is the application's."""
        self._in_head = False
        self._stop_clock()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Start the clock for the next request of this connection."""
        super().on_response_complete()
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock for good."""
        self._stop_clock()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, with the headers of every other answer."""
        self._refuse(BAD_REQUEST, msg)

    def _expect_head(self) -> None:
        self._in_head, self._request_bytes = True, 0
        self._stop_clock()
        self._deadline = self.loop.call_later(self.head_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: int, message: str) -> None:
        told = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(message)).encode())]
        told += [(b"connection", b"close"), (b"content-security-policy", CLOSED.encode()), *header_list(https=False)]
        head = b"".join(name + b": " + value + b"\r\n" for name, value in told)
        self.transport.write(STATUS_LINE[status] + head + b"\r\n" + message.encode())
        self.transport.close()


def serve(app: ASGIApp, host: str, port: int) -> None:
    """Serve until the process is told to end; requests under way have 20 seconds.

    `X-Forwarded-For` is left to the application, which knows the trusted proxies: uvicorn would trust loopback.

    Raises:
        ConfigurationError: nobody can listen there, or somebody does.
    """
    _ensure_free(host, port)
    # What is loaded by now stays for good. A collector that walks through it stops every request for 0.1 s.
    gc.collect()
    gc.freeze()
    uvicorn.run(
        app,
        host=host,
        port=port,
        http=DeadlineProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def _ensure_free(host: str, port: int) -> None:
    """Look before everything is opened: the server itself would find out last, and end in the middle of its log."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        told = f"cannot listen on {host}, port {port}: {error.strerror}"
        raise ConfigurationError(f"{told}; accepted is a free port and an address of this host, or 0.0.0.0") from None
