"""Errors as problem documents (RFC 9457): what went wrong, for programs and people, and never how it looks inside."""

import re
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from core.errors import (
    DuplicateItemError,
    InvalidCursorError,
    ItemNotUsableError,
    MannaError,
    NotFoundError,
    PagesNotReplayableError,
    SyncError,
    Verdict,
)

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 30
METHOD_NOT_ALLOWED = 405
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# What Plaid refuses because of what the caller of this API has sent.
CALLERS_FAULT = frozenset({"INVALID_PUBLIC_TOKEN", "INVALID_ACCOUNT_ID", "MISSING_FIELDS", "INVALID_FIELD"})
PASSES = frozenset({Verdict.RETRY_LATER, Verdict.INSTITUTION_IS_DOWN})
CONFLICTS: dict[type[Exception], str] = {
    ItemNotUsableError: "item-not-usable",
    PagesNotReplayableError: "pages-not-replayable",
}
ENDED = frozenset({Verdict.USER_MUST_ACT, Verdict.ITEM_IS_GONE})


def problem(status: int, kind: str, detail: str, headers: dict[str, str] | None = None, **members: Any) -> Response:
    """Return a problem document; `kind` is the last word of its type, and constant."""
    document = {
        "type": f"urn:manna-sync:problem:{kind}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **members,
    }
    return Response(msgspec.json.encode(document), status, headers, MEDIA_TYPE)


def crashed() -> Response:
    """Return the answer to a request that failed here."""
    return problem(500, "internal", "the request failed here; its id finds it in the log")


def install(app: FastAPI) -> None:
    """Have every error of the application answered by a problem document."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(MannaError, _ours)
    for kind in (SQLAlchemyError, RedisError, OSError):
        app.add_exception_handler(kind, _unavailable)
    app.add_exception_handler(Exception, _crashed)


async def _http(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    kind = re.sub("[^a-z]+", "-", HTTPStatus(status).phrase.lower())
    headers = dict(getattr(error, "headers", None) or {})
    if status == METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return problem(status, kind, str(getattr(error, "detail", "")), headers)


def _methods(request: Request) -> set[str]:
    """Return what all routes of this path take; the framework tells of the first alone."""
    asked = [{**request.scope, "method": method} for method in METHODS]
    return {one["method"] for one in asked if any(route.matches(one)[0] is Match.FULL for route in request.app.routes)}


async def _invalid(_request: Request, error: Exception) -> Response:
    # Where and what, but not the value: it may be a token in the wrong place.
    told = error.errors() if isinstance(error, RequestValidationError) else []
    errors = [{"at": ".".join(map(str, one["loc"])), "problem": str(one["msg"])} for one in told]
    return problem(422, "invalid-request", "the request does not fit its description", errors=_printable(errors))


async def _ours(_request: Request, error: Exception) -> Response:
    if isinstance(error, NotFoundError):
        return problem(404, "not-found", str(error))
    if isinstance(error, InvalidCursorError):
        return problem(422, "invalid-cursor", str(error))
    if isinstance(error, DuplicateItemError):
        return problem(409, "duplicate-item", str(error), item_id=str(error.item_id))
    if (kind := CONFLICTS.get(type(error))) is not None:
        return problem(409, kind, str(error))
    if isinstance(error, SyncError):
        return _plaid(error)
    log.error("request_failed", error=type(error).__name__)
    return crashed()


def _plaid(error: SyncError) -> Response:
    facts: dict[str, Any] = {
        "error_type": error.error_type,
        "error_code": error.error_code,
        "plaid_request_id": error.request_id,
    }
    if error.verdict in PASSES:
        seconds = str(int(error.retry_after or RETRY_SECONDS))
        return problem(503, "plaid-unavailable", "Plaid cannot do this now", {"Retry-After": seconds}, **facts)
    if error.verdict in ENDED:
        return problem(409, "item-not-usable", "the Item's user has to act", **facts)
    if error.error_code in CALLERS_FAULT:
        return problem(422, "refused-by-plaid", "Plaid refused what was sent", **facts)
    return problem(502, "plaid-error", "Plaid refused; an operator has to act", **facts)


async def _crashed(_request: Request, _error: Exception) -> Response:
    # Logged by `web.middleware.request_id`, with the traceback.
    return crashed()


async def _unavailable(_request: Request, error: Exception) -> Response:
    log.warning("part_unavailable", error=type(error).__name__)
    return problem(503, "unavailable", "a part of the service is away", {"Retry-After": str(RETRY_SECONDS)})


def _printable(errors: list[dict[str, str]]) -> list[dict[str, str]]:
    # A field's name is the caller's as well, and may hold half a surrogate pair.
    return [{name: text.encode("utf-8", "replace").decode() for name, text in one.items()} for one in errors]
