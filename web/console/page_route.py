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

AWAY = "A part of the service does not answer: the database or Redis. `manna doctor` tells which. Try again."
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
                wrong = ", ".join(str(one["loc"][-1]) for one in error.errors())
                return error_page(request, 422, f"The address does not fit: {wrong}.")
            except (SQLAlchemyError, RedisError, OSError) as error:
                log.warning("part_unavailable", error=type(error).__name__)
                return error_page(request, 503, AWAY)
            except tuple(STATUSES) as error:
                return error_page(request, STATUSES[type(error)], f"{error}.")

        return page


def error_page(request: Request, status: int, detail: str) -> Response:
    """Return a page that says what is wrong."""
    title = HTTPStatus(status).phrase
    detail = detail[:1].upper() + detail[1:]
    return render(request, "error.html", {"code": status, "title": title, "detail": detail}, status=status)


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
