"""Who looks: the session behind a request, the scope that a page needs, and the proof that a form is ours."""

import secrets
from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, HTTPException, Request, Response

from core.access.scopes import Scope
from core.access.sessions import Session, find_session
from core.settings import Settings
from web.services import services_of

LOGIN = "/console/login"
CSRF = "csrf"
# Sent by console.js when a page brings itself up to date.
LIVE = "x-console-live"
FORM = "application/x-www-form-urlencoded"
MOST_FIELDS = 50
LONGEST_WORD = 128
Form = dict[str, str]


class LogInNeededError(Exception):
    """Nobody is logged in: the page's reader is sent to the log-in page."""


def cookie_name(settings: Settings) -> str:
    """Return the session cookie's name; with `__Host-` a browser takes it from this very host alone, over HTTPS."""
    return "__Host-manna-console" if settings.secure_cookies else "manna-console"


def set_cookie(answer: Response, settings: Settings, word: str) -> None:
    """Give the browser its session; it ends with the browser at the latest."""
    secure = settings.secure_cookies
    answer.set_cookie(cookie_name(settings), word, path="/", secure=secure, httponly=True, samesite="strict")


def clear_cookie(answer: Response, settings: Settings) -> None:
    """Take the session from the browser, and what it kept of the pages."""
    secure = settings.secure_cookies
    answer.delete_cookie(cookie_name(settings), path="/", secure=secure, httponly=True, samesite="strict")
    answer.headers["Clear-Site-Data"] = '"cache", "storage"'


async def session_of(request: Request) -> Session | None:
    """Return the session of a request, if there is one; a bearer token opens no page.

    Raises:
        RedisError: it could not be looked up.
    """
    services = services_of(request)
    word = request.cookies.get(cookie_name(services.resources.settings))
    request.state.principal = None
    if not word or len(word) > LONGEST_WORD:
        return None
    by_person = LIVE not in request.headers
    session = await find_session(services.resources.redis, word, services.signing_keys(), by_person=by_person)
    request.state.session = session
    if session is not None:
        # What is refused from here on is recorded with who asked.
        request.state.principal = session.principal
    return session


def visitor(scope: Scope | None = None) -> Callable[[Request], Awaitable[Session]]:
    """Return a dependency that gives the session of a page's reader, who needs a scope for it, or only to be known."""

    async def check(request: Request) -> Session:
        session = await session_of(request)
        if session is None:
            request.state.refusal = getattr(request.state, "refusal", "no_session")
            raise LogInNeededError
        _ensure(request, session, scope)
        return session

    return check


def form(scope: Scope | None = None) -> Callable[..., Awaitable[tuple[Session, Form]]]:
    """Return a dependency that gives the session and the fields of a form that our own page has sent."""

    async def check(request: Request, session: Annotated[Session, Depends(visitor(scope))]) -> tuple[Session, Form]:
        fields = await read_form(request)
        if not secrets.compare_digest(fields.pop(CSRF, "").encode(), session.csrf.encode()):
            request.state.refusal = "csrf"
            raise HTTPException(403, "The form is not from this session. Open the page again and repeat it.")
        return session, fields

    return check


async def read_form(request: Request) -> Form:
    """Return the fields of a form that no other site has sent; of a repeated one the last counts.

    Raises:
        HTTPException: it came from elsewhere, or is no form.
    """
    if not _is_same_site(request):
        request.state.refusal = "cross_site"
        raise HTTPException(403, "The form was sent from another site.")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise HTTPException(415, "What was sent is no form.")
    try:
        pairs = parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise HTTPException(422, "The form cannot be read.") from None
    return {name: value.strip() for name, value in pairs}


def _is_same_site(request: Request) -> bool:
    """Tell whether a browser says that our own page sends it; what sends neither header is no browser.

    A page that tells no referrer has `null` for its origin, then `Sec-Fetch-Site` alone decides.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin in {None, "null"} or urlsplit(origin or "").netloc == request.headers.get("host")


def _ensure(request: Request, session: Session, scope: Scope | None) -> None:
    if scope is not None and scope not in session.scopes:
        request.state.refusal = "scope_missing"
        raise HTTPException(403, f"Your token lacks the scope {scope.value}. Log in with one that has it.")


Visitor = Annotated[Session, Depends(visitor())]
ItemsVisitor = Annotated[Session, Depends(visitor(Scope.ITEMS_READ))]
SyncsVisitor = Annotated[Session, Depends(visitor(Scope.SYNCS_READ))]
ReplayVisitor = Annotated[Session, Depends(visitor(Scope.SYNCS_REPLAY))]
AuditVisitor = Annotated[Session, Depends(visitor(Scope.AUDIT_READ))]
Sent = Annotated[tuple[Session, Form], Depends(form())]
ItemsSent = Annotated[tuple[Session, Form], Depends(form(Scope.ITEMS_WRITE))]
ReplaySent = Annotated[tuple[Session, Form], Depends(form(Scope.SYNCS_REPLAY))]
AuditSent = Annotated[tuple[Session, Form], Depends(form(Scope.AUDIT_READ))]
