"""A stand-in for Plaid that costs next to nothing: every answer lies ready as bytes, only the latency is made.

`python -m benchmarks.plaid_server ITEMS HISTORY ROUNDS LATENCY_MS` prints its address once it listens, and ends when
its standard input does. It knows one endpoint, and trusts that pages of 500 are asked for.
"""

import asyncio
import re
import sys
import time

import msgspec

from benchmarks.work import Work, access_token

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
HEAD_END = b"\r\n\r\n"
NOT_FOUND = {
    "error_type": "INVALID_REQUEST",
    "error_code": "NOT_FOUND",
    "error_message": "the stand-in has no such endpoint, token or cursor",
    "display_message": None,
    "request_id": "none",
}
Answers = dict[tuple[str, str], bytes]


class Question(msgspec.Struct):
    """What is read of a request."""

    access_token: str
    cursor: str | None = None


_question = msgspec.json.Decoder(Question)


def response(body: bytes, status: bytes = b"200 OK") -> bytes:
    """Return a whole HTTP response."""
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


def prepare(work: Work) -> Answers:
    """Return every answer by token and cursor."""
    return {
        (access_token(item), cursor): response(body) for item in range(work.items) for cursor, body in work.pages(item)
    }


class Connection(asyncio.Protocol):
    """One kept-alive connection; requests on it are answered in turn."""

    def __init__(self, answers: Answers, latency_seconds: float) -> None:
        self._answers = answers
        self._latency = latency_seconds
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self._transport = transport if isinstance(transport, asyncio.Transport) else None

    def data_received(self, data: bytes) -> None:
        """Answer once a request is whole."""
        self._received += data
        end = self._received.find(HEAD_END)
        if end < 0:
            return
        found = LENGTH.search(self._received, 0, end)
        whole = end + len(HEAD_END) + (int(found[1]) if found else 0)
        if len(self._received) < whole:
            return
        head, body = self._received[:end], self._received[end + len(HEAD_END) : whole]
        self._received = self._received[whole:]
        answer = self._answer(head, body)
        if self._latency:
            asyncio.get_running_loop().call_later(self._latency, self._send, answer)
        else:
            self._send(answer)

    def _answer(self, head: bytes, body: bytes) -> bytes:
        if head.startswith(b"POST /transactions/sync "):
            question = _question.decode(body)
            found = self._answers.get((question.access_token, question.cursor or ""))
            if found is not None:
                return found
        return response(msgspec.json.encode(NOT_FOUND), b"404 Not Found")

    def _send(self, answer: bytes) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.write(answer)


async def serve(work: Work, latency_seconds: float) -> None:
    """Serve until standard input ends."""
    began = time.monotonic()
    answers = prepare(work)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(answers, latency_seconds), "127.0.0.1", 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port} serves {len(answers)} answers after {time.monotonic() - began:.1f} s", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    """Read the arguments and serve."""
    items, history, rounds, latency_ms = (int(argument) for argument in sys.argv[1:5])
    asyncio.run(serve(Work(items, history, rounds), latency_ms / 1000))


if __name__ == "__main__":
    main()
