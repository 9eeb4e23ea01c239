"""Reads the bearer token, once, for whoever needs to know: limits count by subject, routes ask for scopes."""

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from core.access.signing_keys import SigningKeys
from core.access.tokens import Principal, verify_token
from core.errors import TokenRefusedError

SCHEME = b"bearer "


class Authentication:
    """Leaves `principal` in the request's state, or `refusal`, one word for the audit log. It refuses nobody itself."""

    def __init__(self, app: ASGIApp, keys: Callable[[], SigningKeys | None]) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            state = scope["state"]
            state["principal"] = None
            try:
                state["principal"] = self._read([value for name, value in scope["headers"] if name == b"authorization"])
            except TokenRefusedError as error:
                state["refusal"] = str(error)
        await self._app(scope, receive, send)

    def _read(self, headers: list[bytes]) -> Principal | None:
        if not headers:
            return None
        if len(headers) > 1 or headers[0][: len(SCHEME)].lower() != SCHEME:
            raise TokenRefusedError("not_one_bearer_token")
        keys = self._keys()
        if keys is None:
            raise TokenRefusedError("no_signing_key")
        return verify_token(keys, headers[0][len(SCHEME) :].decode("latin-1").strip())
