"""The server on a real socket: connections that say nothing, or too much, are ended."""

import asyncio
import resource
from contextlib import asynccontextmanager, suppress

import pytest
import uvicorn

from web.middleware.body_limit import MAX_BYTES, BodyLimit
from web.server import DeadlineProtocol

PARTS = b"POST / HTTP/1.1\r\nHost: test\r\n"


async def echo(scope, receive, send):
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": message["body"][:2].ljust(2)})


class Hasty(DeadlineProtocol):
    """The protocol with a deadline that a test can wait for."""

    head_seconds = 0.2


@asynccontextmanager
async def served(protocol, app=echo, *, tls=None):
    """Serve an application on a free port, in this loop; over TLS if there is a context for it."""
    config = uvicorn.Config(app, port=0, http=protocol, log_config=None, lifespan="off", server_header=False)
    server = uvicorn.Server(config)
    config.load()
    config.ssl = tls
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield server.servers[0].sockets[0].getsockname()[:2]
    finally:
        await server.shutdown()


@pytest.fixture
async def hasty():
    async with served(Hasty) as address:
        yield address


@pytest.mark.parametrize("said", [b"", b"G", PARTS, PARTS + b"X-A: " + b"a" * 1000])
async def test_a_connection_that_does_not_finish_its_head_is_ended(hasty, said):
    reader, writer = await asyncio.open_connection(*hasty)
    writer.write(said)
    assert await reader.read() == b""
    writer.close()


async def test_one_that_goes_on_talking_slowly_is_ended_as_well(hasty):
    reader, writer = await asyncio.open_connection(*hasty)
    writer.write(PARTS)
    ended = asyncio.create_task(reader.read())
    while not ended.done():
        writer.write(b"X-A: a\r\n")
        await asyncio.wait([ended], timeout=0.02)
    assert ended.exception() is not None or ended.result() == b""
    writer.close()


async def test_after_an_answer_the_clock_starts_again(hasty):
    reader, writer = await asyncio.open_connection(*hasty)
    for _ in range(2):
        writer.write(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(2)
    writer.write(b"GET / HT")
    assert await reader.read() == b""
    writer.close()


@pytest.fixture
def many_files():
    """Both ends of a thousand connections are in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


SLOW = {
    "says nothing": (b"", b""),
    "dribbles its head": (PARTS, b"X-A: a\r\n"),
    "dribbles its body": (PARTS + b"Content-Length: 60000\r\n\r\n", b"a"),
    "dribbles its chunks": (PARTS + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
}


async def dribble(address, beginning, more):
    """Send a little again and again, until the server ends it; return what it said."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(beginning)
    ended = asyncio.create_task(reader.read())
    while not ended.done():
        writer.write(more)
        await asyncio.wait([ended], timeout=0.1)
    writer.close()
    return b"" if ended.exception() else ended.result()


class Patient(DeadlineProtocol):
    """The protocol with a deadline that an honest request keeps, also among a thousand on a busy machine."""

    head_seconds = 3


async def test_a_thousand_slow_connections_keep_nobody_waiting_and_are_ended(many_files):
    async with served(Patient, BodyLimit(echo, seconds=Patient.head_seconds)) as address:
        kinds = [SLOW[kind] for kind in SLOW for _ in range(250)]
        slow = [asyncio.create_task(dribble(address, *kind)) for kind in kinds]
        reader, writer = await asyncio.open_connection(*address)
        writer.write(PARTS + b"Connection: close\r\nContent-Length: 2\r\n\r\nok")
        assert (await reader.read()).endswith(b"ok")
        writer.close()
        said = await asyncio.gather(*slow)
    assert len(said) == 1000
    # No end but the server's own: a head that is late is dropped, a body that is late is told so first.
    assert {one.partition(b"\r\n")[0] for one in said} <= {b"", b"HTTP/1.1 408 Request Timeout"}


@pytest.mark.parametrize(
    ("said", "status"),
    [(b"NOT HTTP\r\n\r\n", b"400 Bad Request"), (PARTS + b"X-A: " + b"a" * 600_000, b"431 Request Header Fields")],
)
async def test_what_is_no_request_is_answered_with_the_headers_of_every_answer(hasty, said, status):
    reader, writer = await asyncio.open_connection(*hasty)
    writer.write(said)
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()
    assert status in head
    for expected in (b"x-frame-options: DENY", b"content-security-policy: default-src 'none'", b"connection: close"):
        assert expected in head
    assert b"server:" not in head


CHUNKED = PARTS + b"Transfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "chunks": (CHUNKED, b"8000\r\n" + b"a" * 0x8000 + b"\r\n"),
    "trailers": (CHUNKED + b"1\r\na\r\n0\r\n", b"X-A: " + b"a" * 32_000 + b"\r\n"),
    "one trailer": (CHUNKED + b"1\r\na\r\n0\r\nX-A: ", b"a" * 32_000),
    "a chunk's extension": (CHUNKED + b"1;a=", b"a" * 32_000),
}


@pytest.mark.parametrize("kind", ENDLESS)
async def test_no_part_of_a_chunked_request_is_without_an_end(kind):
    beginning, more = ENDLESS[kind]
    async with served(DeadlineProtocol, BodyLimit(echo)) as address:
        reader, writer = await asyncio.open_connection(*address)
        ended = asyncio.create_task(reader.read())
        writer.write(beginning)
        sent = 0
        with suppress(ConnectionError):
            # Twice what is bounded, and what the buffers on the way hold.
            while not ended.done() and sent < 16 * 2**20:
                writer.write(more)
                await writer.drain()
                sent += len(more)
            await asyncio.wait_for(ended, 5)
        assert sent < 16 * 2**20, "the server reads on"
        writer.close()


async def test_the_largest_body_in_the_smallest_chunks_is_taken():
    async with served(DeadlineProtocol, BodyLimit(echo)) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(CHUNKED + b"1\r\na\r\n" * MAX_BYTES + b"0\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        writer.close()
