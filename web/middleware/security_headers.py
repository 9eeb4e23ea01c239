"""The headers of OWASP's Secure Headers list on every answer, and none of those that it has removed.

Source: OWASP Secure Headers Project, headers to add and to remove. `Clear-Site-Data` belongs to the end of a session
alone, and is set there. A header that an answer brings along itself is left as it is.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Every feature of a browser that a page could be given, each given to nobody.
PERMISSIONS = (
    "accelerometer=(), autoplay=(), camera=(), cross-origin-isolated=(), display-capture=(), encrypted-media=(),"
    " fullscreen=(), geolocation=(), gyroscope=(), keyboard-map=(), magnetometer=(), microphone=(), midi=(),"
    " payment=(), picture-in-picture=(), publickey-credentials-get=(), screen-wake-lock=(), sync-xhr=(), usb=(),"
    " web-share=(), xr-spatial-tracking=()"
)
CLOSED = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "x-permitted-cross-domain-policies": "none",
    "x-dns-prefetch-control": "off",
    "referrer-policy": "no-referrer",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": PERMISSIONS,
    "cache-control": "no-store, max-age=0",
}
TRANSPORT = "max-age=63072000; includeSubDomains; preload"
REMOVED = frozenset({b"server", b"x-powered-by", b"x-aspnet-version", b"x-generator", b"via", b"x-xss-protection"})
Headers = list[tuple[bytes, bytes]]


def header_list(*, https: bool) -> Headers:
    """Return the headers for an answer that is no page; HSTS is among them where HTTPS is required."""
    told = {**HEADERS, **({"strict-transport-security": TRANSPORT} if https else {})}
    return [(name.encode(), value.encode()) for name, value in told.items()]


class SecurityHeaders:
    """Adds the headers as an answer starts."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self._app = app
        self._headers = header_list(https=https)
        self._closed = (b"content-security-policy", CLOSED.encode())
        upgrade = "; upgrade-insecure-requests" if https else ""
        self._page = (b"content-security-policy", (PAGE + upgrade).encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = self._with_ours(message.get("headers", ()))
            await send(message)

        await self._app(scope, receive, guarded)

    def _with_ours(self, given: Headers) -> Headers:
        kept = [header for header in given if header[0].lower() not in REMOVED]
        names = {name.lower() for name, _ in kept}
        policy = self._closed
        for name, value in kept:
            if name.lower() == b"content-type" and value.startswith(b"text/html"):
                policy = self._page
        return kept + [header for header in (*self._headers, policy) if header[0] not in names]
