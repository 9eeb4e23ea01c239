"""`Idempotency-Key` on POST: what is asked twice happens once, and is answered the same.

Source: draft-ietf-httpapi-idempotency-key-header. A key belongs to the token's subject and counts for a day.
"""

import hashlib
import re
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import msgspec
from fastapi import Request, Response
from fastapi.routing import APIRoute
from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from core.database import Database
from core.models import IdempotencyKey
from web.problems import problem
from web.services import services_of

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
ACCEPTED = re.compile(r"[\x21-\x7e]{1,128}")
KEPT = timedelta(hours=24)
# Longer than any POST takes: after that its process is dead, and the key may be taken over.
RUNNING = timedelta(minutes=5)
SWEEP = 20
SERVER_ERROR = 500
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class IdempotentRoute(APIRoute):
    """A route whose POST honours the key; failures of ours (5xx) are forgotten, so that they can be tried again."""

    def get_route_handler(self) -> Handler:
        """Wrap the handler."""
        handle = super().get_route_handler()

        async def once(request: Request) -> Response:
            keys = request.headers.getlist(HEADER)
            principal = request.state.principal
            if request.method != "POST" or not keys or principal is None:
                return await handle(request)
            # Of two nobody knows which one the caller will come again with.
            if len(keys) > 1 or not ACCEPTED.fullmatch(keys[0]):
                return problem(
                    400, "invalid-idempotency-key", f"{HEADER} takes one key of 1 to 128 printable characters"
                )
            database = services_of(request).resources.database
            use = KeyUse(database, principal.subject, keys[0], await _fingerprint(request))
            return await _answer_once(use, handle, request)

        return once


async def _answer_once(use: "KeyUse", handle: Handler, request: Request) -> Response:
    if not await use.claim():
        return await use.known_answer()
    try:
        answer = await handle(request)
    except BaseException:
        await use.release()
        raise
    if answer.status_code >= SERVER_ERROR:
        await use.release()
    else:
        await use.keep(answer)
    return answer


async def _fingerprint(request: Request) -> bytes:
    body = await request.body()
    asked = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    return hashlib.sha256(asked + body).digest()


class KeyUse:
    """One use of one key."""

    def __init__(self, database: Database, subject: str, key: str, fingerprint: bytes) -> None:
        self._database = database
        self._subject, self._key, self._fingerprint = subject, key, fingerprint
        self._mine = (IdempotencyKey.subject == subject, IdempotencyKey.key == key)

    async def claim(self) -> bool:
        """Take the key, and tell whether it was free; sweeps a few that have expired."""
        expired = IdempotencyKey.created_at < func.now() - KEPT
        dead = IdempotencyKey.status.is_(None) & (IdempotencyKey.created_at < func.now() - RUNNING)
        fresh = {"fingerprint": self._fingerprint, "status": None, "answer": None, "created_at": func.now()}
        statement = (
            insert(IdempotencyKey)
            .values(subject=self._subject, key=self._key, **fresh)
            .on_conflict_do_update(index_elements=["subject", "key"], set_=fresh, where=or_(expired, dead))
        )
        old = select(IdempotencyKey.subject, IdempotencyKey.key).where(expired).limit(SWEEP)
        sweep = delete(IdempotencyKey).where(
            func.row(IdempotencyKey.subject, IdempotencyKey.key).in_(old.with_for_update(skip_locked=True))
        )
        async with self._database.connection() as connection:
            await connection.execute(sweep)
            return (await connection.execute(statement.returning(IdempotencyKey.key))).first() is not None

    async def known_answer(self) -> Response:
        """Answer as the first time, or tell why that is not possible."""
        query = select(IdempotencyKey.fingerprint, IdempotencyKey.status, IdempotencyKey.answer).where(*self._mine)
        async with self._database.connection() as connection:
            found = (await connection.execute(query)).first()
        if found is None or (found.status is None and found.fingerprint == self._fingerprint):
            return problem(409, "idempotency-key-in-use", "the first request with this key is still under way")
        if found.fingerprint != self._fingerprint:
            return problem(422, "idempotency-key-reused", "this key was used for another request")
        body, media_type = msgspec.json.encode(found.answer["body"]), found.answer["media_type"]
        return Response(body, found.status, {REPLAYED: "true"}, media_type)

    async def keep(self, answer: Response) -> None:
        """Remember the answer."""
        body = msgspec.json.decode(answer.body) if answer.body else None
        kept = {"body": body, "media_type": answer.headers.get("content-type")}
        statement = update(IdempotencyKey).where(*self._mine).values(status=answer.status_code, answer=kept)
        async with self._database.connection() as connection:
            await connection.execute(statement)

    async def release(self) -> None:
        """Give the key back: nothing has happened."""
        async with self._database.connection() as connection:
            await connection.execute(delete(IdempotencyKey).where(*self._mine, IdempotencyKey.status.is_(None)))
