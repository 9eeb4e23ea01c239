"""Who may: a route names the scope that it needs, and gets the caller."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, HTTPException, Request, Security
from fastapi.security import HTTPBearer

from core.access.scopes import Scope
from core.access.tokens import Principal

# The scheme is for the description alone: the token is read, once, by the middleware.
BEARER = HTTPBearer(
    auto_error=False, scheme_name="bearer", bearerFormat="JWT", description="As `manna tokens issue` prints it."
)


def require(scope: Scope) -> Callable[[Request], Principal]:
    """Return a dependency that gives the caller, if its token has the scope."""

    def check(request: Request, _scheme: Annotated[object, Security(BEARER)] = None) -> Principal:
        principal: Principal | None = request.state.principal
        if principal is None:
            request.state.refusal = getattr(request.state, "refusal", "no_token")
            raise HTTPException(401, "a valid token is needed", {"WWW-Authenticate": 'Bearer realm="manna-sync"'})
        if scope not in principal.scopes:
            request.state.refusal = "scope_missing"
            challenge = f'Bearer realm="manna-sync", error="insufficient_scope", scope="{scope.value}"'
            raise HTTPException(403, f"the token lacks the scope {scope.value}", {"WWW-Authenticate": challenge})
        return principal

    return check


def actor_of(principal: Principal) -> str:
    """Return the caller's name in the audit log."""
    return f"token:{principal.subject}"


ItemsReader = Annotated[Principal, Depends(require(Scope.ITEMS_READ))]
ItemsWriter = Annotated[Principal, Depends(require(Scope.ITEMS_WRITE))]
SyncsReader = Annotated[Principal, Depends(require(Scope.SYNCS_READ))]
SyncsReplayer = Annotated[Principal, Depends(require(Scope.SYNCS_REPLAY))]
AuditReader = Annotated[Principal, Depends(require(Scope.AUDIT_READ))]
