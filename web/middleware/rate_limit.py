"""Limits by route, address and token subject; the answer's `RateLimit` headers tell how the caller stands.

Source: draft-ietf-httpapi-ratelimit-headers. Addresses are those of the connection, or of the last trusted proxy's
`X-Forwarded-For`: nothing that a caller writes itself counts.
"""

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.settings import Settings
from web.limits import Counter, Limit, Standing
from web.problems import problem

READS = frozenset({"GET", "HEAD", "OPTIONS"})
ADDRESS, SUBJECT = "address", "subject"
# An IPv6 customer has a whole /64 to call from.
IPV6_PREFIX = 64


@dataclass(frozen=True, slots=True)
class Rule:
    """The limits of the paths that begin with `prefix`, for reading or for writing or both."""

    prefix: str
    limits: tuple[Limit, ...]
    reads: bool = True
    writes: bool = True
    # Plaid reads no headers: for webhooks the second question to Redis is saved.
    headers: bool = True
    # Counted by this process alone: an answer that may not wait for a Redis that hangs.
    local: bool = False


def rules_of(settings: Settings) -> tuple[Rule, ...]:
    """Return the rules, the first that fits counts."""
    a_minute = settings.api_rate_per_minute
    return (
        Rule("/webhooks/", (Limit("webhooks", ADDRESS, settings.webhook_rate_per_minute),), headers=False),
        Rule("/health", (Limit("health", ADDRESS, a_minute * 2),), local=True),
        Rule("/console/login", (Limit("log-in", ADDRESS, 10),), reads=False),
        Rule(
            "/api/",
            (Limit("api-write", SUBJECT, max(1, a_minute // 5)), Limit("api-address", ADDRESS, a_minute * 2)),
            reads=False,
        ),
        Rule("/api/", (Limit("api-read", SUBJECT, a_minute), Limit("api-address", ADDRESS, a_minute * 2))),
        Rule("/", (Limit("any", ADDRESS, a_minute * 2),)),
    )


def refused_limit(settings: Settings) -> Limit:
    """Return the limit of tokens that do not hold: guessing is slow."""
    return Limit("failed-authentication", ADDRESS, max(1, settings.api_rate_per_minute // 10))


class RateLimit:
    """Answers 429 to whoever is over a limit."""

    def __init__(self, app: ASGIApp, settings: Settings, counter: Callable[[], Counter]) -> None:
        self._app = app
        self._rules = rules_of(settings)
        self._refused = refused_limit(settings)
        self._counter = counter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        rule = self._rule_for(scope)
        standing: Standing | None = None
        for limit, identity in self._limits(rule, scope):
            hit = self._counter().hit(limit, identity, stats=rule.headers, local=rule.local)
            standing = _tighter(standing, await hit)
            if not standing.allowed:
                scope["state"]["limit"] = limit.name
                break
        if standing is not None and not standing.allowed:
            retry = {"Retry-After": str(standing.reset_seconds)}
            answer = problem(429, "rate-limited", f"more than {standing.limit.amount} requests a minute", retry)
            await answer(scope, receive, _with_headers(send, standing))
            return
        told = standing if rule.headers else None
        await self._app(scope, receive, send if told is None else _with_headers(send, told))

    def _rule_for(self, scope: Scope) -> Rule:
        reads = scope["method"] in READS
        return next(
            rule
            for rule in self._rules
            if scope["path"].startswith(rule.prefix) and (rule.reads if reads else rule.writes)
        )

    def _limits(self, rule: Rule, scope: Scope) -> Iterator[tuple[Limit, str]]:
        address, state = caller_address(scope), scope["state"]
        if state.get("refusal"):
            yield self._refused, address
        principal = state.get("principal")
        for limit in rule.limits:
            if limit.per == ADDRESS:
                yield limit, address
            elif principal is not None:
                yield limit, principal.subject


def caller_address(scope: Scope) -> str:
    """Return whom to count for: the address, of IPv6 the network that one customer has."""
    client = scope.get("client")
    try:
        address = ipaddress.ip_address(client[0] if client else "")
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))


def _tighter(one: Standing | None, other: Standing) -> Standing:
    if one is None or not other.allowed:
        return other
    return min(one, other, key=lambda standing: standing.remaining)


def _with_headers(send: Send, standing: Standing) -> Send:
    name = standing.limit.name
    headers = [
        (b"ratelimit-policy", f'"{name}";q={standing.limit.amount};w=60'.encode()),
        (b"ratelimit", f'"{name}";r={standing.remaining};t={standing.reset_seconds}'.encode()),
    ]

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *headers]
        await send(message)

    return told
