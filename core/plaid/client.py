"""Plaid's API from the event loop: plaid-python's configuration, requests and errors, raw bodies.

plaid-python is synchronous and its models cost seconds of CPU a page (docs/adr/0005-plaid-client.md), so its
transport is one of the loop (docs/adr/0028-plaid-on-the-loop.md), and it hands back bytes; whoever calls decodes the
little that it needs.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import nullcontext
from itertools import count
from typing import Any

import aiohttp
import plaid
import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from core.byte_budget import ByteBudget
from core.errors import RetryLaterError, SyncError
from core.plaid.errors import classify
from core.plaid.on_loop import OnLoop
from core.settings import Settings

log = structlog.get_logger()

PLAID_VERSION = "2020-09-14"
AUTH = ("clientId", "plaidVersion", "secret")
JSON_HEADERS = {"Accept": "application/json", "Content-Type": "application/json"}
ATTEMPTS = 3
BACKOFF = wait_exponential_jitter(multiplier=0.2, max=5)
# Whoever is told to wait longer gives its place to another Item: the schedule waits for it.
LONGEST_PAUSE_SECONDS = 5.0
LARGE_BYTES = 64 * 1024
# A full page is about 900 kB; what does not tell its length (chunked, gzip) is counted as one.
UNTOLD_BYTES = 1024 * 1024

NETWORK = (
    (aiohttp.ClientSSLError, "TLS_FAILED"),
    (TimeoutError, "TIMED_OUT"),
    (aiohttp.ClientConnectorError, "NOT_CONNECTED"),
)

Again = Callable[[], Awaitable[None]]


def _is_transient(error: BaseException) -> bool:
    # A rate limit is not: trying again at once spends the budget that the fleet is short of.
    passes = isinstance(error, RetryLaterError) and error.error_type in {"API_ERROR", "HTTP", "NETWORK"}
    return passes and _told_to_wait(error) <= LONGEST_PAUSE_SECONDS


def _pause(state: RetryCallState) -> float:
    told = _told_to_wait(state.outcome.exception() if state.outcome else None)
    return max(BACKOFF(state), told)


def _told_to_wait(error: BaseException | None) -> float:
    return (error.retry_after or 0.0) if isinstance(error, SyncError) else 0.0


class PlaidClient:
    """One per process. Every call has a time-out, and tries transient failures again up to three times.

    Between two attempts there is at least Plaid's `Retry-After`; a call that is told to wait for more than five seconds
    fails at once. Large bodies are read when `memory` has room for them.

    Raises of every call:
        SyncError: with the verdict of Plaid's error, or `RetryLaterError` for a network that failed.
    """

    def __init__(self, settings: Settings, secret: str, memory: ByteBudget | None = None) -> None:
        keys = {"clientId": settings.plaid_client_id, "secret": secret, "plaidVersion": PLAID_VERSION}
        configuration = plaid.Configuration(host=settings.plaid_host, api_key=keys)
        # Ours is the one that counts attempts: another's would multiply them.
        configuration.retries = False
        configuration.connection_pool_maxsize = settings.plaid_concurrency
        self._api = plaid.ApiClient(configuration)
        seconds = {"connect_seconds": settings.connect_timeout_seconds, "read_seconds": settings.plaid_timeout_seconds}
        self._api.rest_client = self._connections = OnLoop(configuration, **seconds)
        self._page_size = settings.sync_page_size
        self._memory = memory or ByteBudget(settings.sync_memory_mb * 2**20)

    def use_secret(self, secret: str) -> None:
        """Send another secret from the next call on; Plaid takes both while one replaces the other."""
        configuration = self._api.configuration
        configuration.api_key = {**configuration.api_key, "secret": secret}

    async def transactions_sync(self, access_token: str, cursor: str | None, again: Again | None = None) -> bytes:
        """Return the raw page after `cursor`; None or empty asks for the whole history.

        `again` is awaited before each attempt but the first: they count at Plaid as well.
        """
        body: dict[str, Any] = {"access_token": access_token, "count": self._page_size}
        if cursor:
            body["cursor"] = cursor
        body["options"] = {"include_original_description": True}
        return await self.post("/transactions/sync", body, again)

    async def webhook_verification_key(self, key_id: str) -> bytes:
        """Return the raw answer that holds one webhook key."""
        return await self.post("/webhook_verification_key/get", {"key_id": key_id})

    async def post(self, path: str, body: Mapping[str, Any], again: Again | None = None) -> bytes:
        """Return the raw body of a 2xx answer; `again` as above."""
        attempts = AsyncRetrying(
            retry=retry_if_exception(_is_transient),
            wait=_pause,
            stop=stop_after_attempt(ATTEMPTS),
            reraise=True,
        )
        return await attempts(self._attempt, path, body, again, count())

    async def _attempt(self, path: str, body: Mapping[str, Any], again: Again | None, before: Iterator[int]) -> bytes:
        if next(before) and again is not None:
            await again()
        return await self._post_once(path, body)

    async def _post_once(self, path: str, body: Mapping[str, Any]) -> bytes:
        try:
            answer = await self._ask(path, dict(body))
            # The server waits with a large body until there is room: a hundred of them at once are a worker's memory.
            async with answer, self._memory.held(_length(answer)) if _is_large(answer) else nullcontext():
                return await answer.read()
        except plaid.ApiException as error:
            raise self._meaning(path, error) from None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise RetryLaterError(_what_failed(error), error_type="NETWORK") from None

    async def _ask(self, path: str, body: dict[str, Any]) -> aiohttp.ClientResponse:
        options = {"auth_settings": AUTH, "_preload_content": False}
        answer: aiohttp.ClientResponse = await self._api.call_api(
            path, "POST", header_params=dict(JSON_HEADERS), body=body, **options
        )
        return answer

    def _meaning(self, path: str, error: plaid.ApiException) -> Exception:
        # The exception's own text holds headers and body: only its facts go on.
        headers = error.headers or {}
        meaning = classify(error.status or 0, error.body or "", headers.get("Retry-After"))
        log.info(
            "plaid_error",
            path=path,
            status=error.status,
            error_type=meaning.error_type,
            error_code=meaning.error_code,
            verdict=meaning.verdict.value,
            request_id=meaning.request_id,
        )
        return meaning

    async def aclose(self) -> None:
        """Close every connection; calls under way fail."""
        await self._connections.aclose()


def _length(answer: aiohttp.ClientResponse) -> int:
    """Return how many bytes the body takes."""
    told = answer.content_length
    return UNTOLD_BYTES if told is None or "Content-Encoding" in answer.headers else told


def _is_large(answer: aiohttp.ClientResponse) -> bool:
    return _length(answer) > LARGE_BYTES


def _what_failed(error: Exception) -> str:
    """Return a name of ours: what the library calls it changes with the library."""
    return next((name for kind, name in NETWORK if isinstance(error, kind)), "CONNECTION_LOST")
