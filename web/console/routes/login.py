"""Log in with an API token, and out."""

import re

from fastapi import APIRouter, Request, Response

from core.access.sessions import close_session, open_session
from core.access.signing_keys import SigningKeys
from core.access.tokens import MAX_TOKEN_CHARACTERS, Principal, verify_token
from core.audit import AuditContext, AuditEventType, log_audit_event
from core.errors import TokenRefusedError
from web.auth import actor_of
from web.console.access import LOGIN, Sent, clear_cookie, cookie_name, read_form, session_of, set_cookie
from web.console.page_route import PageRoute
from web.console.rendering import render
from web.services import services_of

router = APIRouter(prefix="/console", route_class=PageRoute)

HOME = "/console"
# A path of ours and nothing that a browser could take for another host.
OURS = re.compile(r"/console(?:[/?][\x21-\x5b\x5d-\x7e]*)?")
REFUSED = "The token does not hold. It may have expired: `manna tokens issue` prints a new one."


@router.get("/login")
async def show(request: Request) -> Response:
    """Ask for a token."""
    if await session_of(request) is not None:
        return _to(HOME)
    return render(request, "login.html", {"next": _ours(request.query_params.get("next", "")), "problem": None})


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Open a session for a token that holds; recorded either way, before it is answered."""
    fields = await read_form(request)
    services, token, following = services_of(request), fields.get("token", ""), _ours(fields.get("next", ""))
    try:
        principal = _verified(services.signing_keys(), token)
    except TokenRefusedError as error:
        request.state.refusal, request.state.refusal_event = str(error), AuditEventType.LOGIN_FAILED
        answer = render(request, "login.html", {"next": following, "problem": REFUSED}, status=401)
        answer.headers["WWW-Authenticate"] = 'Bearer realm="manna-sync"'
        return answer
    word, _ = await open_session(services.resources.redis, principal, token)
    await _record(request, AuditEventType.LOGIN_SUCCEEDED, "An operator logged in to the console", principal)
    answer = _to(following)
    set_cookie(answer, services.resources.settings, word)
    return answer


@router.post("/logout")
async def log_out(request: Request, sent: Sent) -> Response:
    """End the session: here, and in the browser."""
    session, _ = sent
    services = services_of(request)
    settings = services.resources.settings
    await close_session(services.resources.redis, request.cookies[cookie_name(settings)])
    await _record(request, AuditEventType.LOGGED_OUT, "An operator logged out of the console", session.principal)
    answer = _to(f"{LOGIN}?done=logout")
    clear_cookie(answer, settings)
    return answer


def _verified(keys: SigningKeys | None, token: str) -> Principal:
    if keys is None:
        raise TokenRefusedError("no_signing_key")
    return verify_token(keys, token[: MAX_TOKEN_CHARACTERS + 1])


async def _record(request: Request, what: AuditEventType, message: str, principal: Principal) -> None:
    context = AuditContext(
        request_id=request.state.request_id,
        ip_address=request.client.host if request.client else None,
        user_agent=request.headers.get("user-agent"),
        token_id=principal.token_id,
    )
    database = services_of(request).resources.database
    await log_audit_event(what, message, database=database, context=context, actor=actor_of(principal))


def _ours(path: str) -> str:
    return path if OURS.fullmatch(path) else HOME


def _to(path: str) -> Response:
    return Response(status_code=303, headers={"Location": path})
