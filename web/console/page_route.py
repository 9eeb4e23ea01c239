"""A route whose errors are pages too: the same statuses as the API's, for a person's eyes."""

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from core.errors import (
    InvalidCursorError,
    ItemNotUsableError,
    MannaError,
    NotFoundError,
    PagesNotReplayableError,
    UnavailableError,
)
from web.console.access import LOGIN, LogInNeededError
from web.console.rendering import render
from web.console.words import address

log = structlog.get_logger()

AWAY = "A part of the service does not answer: the database or Redis. `manna doctor` tells which."
ADVICE = {
    404: "It may have been removed since, or be mistyped. The search on the Items or Runs page finds what is there.",
    408: "Your connection may be slow. Go back and send it again.",
    413: "Go back and send less at once.",
    422: "Go back and correct it.",
    429: "Wait a minute, then load the page again.",
    500: "Load the page again. If it happens again, the request's id finds it in the log.",
    503: "Load the page again in a moment.",
}
STATUSES: dict[type[MannaError], int] = {
    NotFoundError: 404,
    InvalidCursorError: 422,
    ItemNotUsableError: 409,
    PagesNotReplayableError: 409,
    UnavailableError: 503,
}
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class PageRoute(APIRoute):
    """Answers with a page whatever happens."""

    def get_route_handler(self) -> Handler:
        """Wrap the handler."""
        handle = super().get_route_handler()

        async def page(request: Request) -> Response:
            try:
                return await handle(request)
            except LogInNeededError:
                return to_login(request)
            except HTTPException as error:
                return error_page(request, error.status_code, str(error.detail))
            except RequestValidationError as error:
                return error_page(request, 422, f"The address does not fit: {_wrong(error)}.")
            except (SQLAlchemyError, RedisError, OSError) as error:
                log.warning("part_unavailable", error=type(error).__name__)
                return error_page(request, 503, AWAY)
            except tuple(STATUSES) as error:
                return error_page(request, STATUSES[type(error)], f"{error}.")

        return page


def error_page(request: Request, status: int, detail: str, advice: str = "") -> Response:
    """Return a page that says what is wrong, and what to do about it."""
    facts = {
        "code": status,
        "title": HTTPStatus(status).phrase,
        "detail": _sentence(detail),
        "advice": advice or ADVICE.get(status, ""),
        "request_id": getattr(request.state, "request_id", None),
    }
    # Whoever is logged in keeps the ways out: another page, or another token.
    session = getattr(request.state, "session", None)
    return render(request, "error.html", facts, session=session, status=status)


def _wrong(error: RequestValidationError) -> str:
    # What and why, but not the value: it is the caller's text.
    told = [(str(one["loc"][-1]), str(one["msg"]).removeprefix("Value error, ")) for one in error.errors()]
    return "; ".join(f"{name} ({why})" for name, why in told)


def problem_page(request: Request, problem: dict[str, Any], headers: dict[str, str]) -> Response:
    """Return the page for what a guard answers with before any page is reached."""
    status: int = problem["status"]
    seconds = headers.get("retry-after")
    advice = f"Wait {seconds} seconds, then load the page again." if seconds else ""
    if request.url.scheme == "http" and status == HTTPStatus.FORBIDDEN:
        advice = "Open the console by an address that begins with https://."
    return error_page(request, status, problem["detail"], advice)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?")) else ".")


def to_login(request: Request) -> Response:
    """Send somebody to the log-in page, and afterwards back.

    A browser keeps our cookie back when it follows another site's link. It comes again by itself from our own page,
    with the cookie if it has one.
    """
    if request.method != "GET":
        answer = error_page(request, 401, "Your session has ended. Log in again, then repeat it.")
        answer.headers["WWW-Authenticate"] = 'Bearer realm="manna-sync"'
        return answer
    if request.headers.get("sec-fetch-site") == "cross-site":
        return render(request, "again.html")
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return Response(status_code=303, headers={"Location": address(LOGIN, next=asked)})
