"""The server: each request goes through the faults that are set to its endpoint, or to the control API."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from simulator.call import Answer, Call, Peek, refusal
from simulator.connection import Connection
from simulator.controls import CONTROLS
from simulator.endpoints import ENDPOINTS
from simulator.errors import PlaidError, invalid_input, invalid_request
from simulator.json_codec import encode
from simulator.simulator import Simulator

NOT_FOUND = 404


def make_app(simulator: Simulator) -> Starlette:
    """Return the server of Plaid's endpoints, of the control API and of /health."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await simulator.close()

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        connection = Connection(scope, receive, send)
        await connection.answer(await _answer(simulator, connection))

    return Starlette(routes=[Mount("", serve)], lifespan=lifespan)


async def _answer(simulator: Simulator, connection: Connection) -> Answer | None:
    if connection.method == "GET":
        return _told(simulator, connection.path)
    body = await connection.body()
    if connection.path in CONTROLS:
        return await CONTROLS[connection.path].answer(simulator, body)
    call = _call(simulator, connection, body)
    request = simulator.counts.came(call.path, call.item_id, call.peek.cursor)
    if seconds := simulator.latency.seconds(call.path, simulator.jitter):
        await asyncio.sleep(seconds)
    answer = await simulator.faults.run(call, lambda: _endpoint(simulator, call))
    simulator.counts.went(request, None if answer is None else answer.status)
    return answer


def _told(simulator: Simulator, path: str) -> Answer:
    if path == "/health":
        return Answer(encode({"status": "healthy", "items": len(simulator.world.items)}))
    if path == "/":
        paths = {"plaid": list(ENDPOINTS), "control": list(CONTROLS), "health": ["GET /health"]}
        return Answer(encode({"simulator": "Plaid, 2020-09-14", "described_in": "simulator/README.md", "post": paths}))
    return refusal(
        invalid_request(
            "NOT_FOUND", "the requested path is not found: GET / lists them, all others are POST", NOT_FOUND
        ),
        simulator.world.request_ids.short_id(),
    )


def _call(simulator: Simulator, connection: Connection, body: bytes) -> Call:
    try:
        peek = msgspec.json.decode(body, type=Peek)
    except (msgspec.DecodeError, UnicodeDecodeError):
        peek = Peek()
    item = simulator.world.find(peek.access_token)
    request_id = simulator.world.request_ids.short_id()
    return Call(connection.path, body, connection.headers, request_id, peek, item, connection.gone)


async def _endpoint(simulator: Simulator, call: Call) -> Answer:
    try:
        endpoint = ENDPOINTS.get(call.path)
        if endpoint is None:
            raise invalid_request("NOT_FOUND", "the requested path is not found", NOT_FOUND)
        _authenticate(simulator, call)
        simulator.limits.check(call.path, call.item_id)
        found = await endpoint.answer(simulator, call.body)
    except PlaidError as error:
        return refusal(error, call.request_id)
    return Answer(found if isinstance(found, bytes) else encode(found | {"request_id": call.request_id}))


def _authenticate(simulator: Simulator, call: Call) -> None:
    client_id = call.peek.client_id or call.headers.get("plaid-client-id")
    secret = call.peek.secret or call.headers.get("plaid-secret")
    if (client_id, secret) != (simulator.client_id, simulator.secret):
        raise invalid_input("INVALID_API_KEYS", "invalid client_id or secret provided")
