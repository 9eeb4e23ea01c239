"""Plaid's API from the event loop: plaid-python's configuration, headers, pool and errors, raw bodies.

plaid-python is synchronous and its models cost seconds of CPU a page (docs/adr/0005-plaid-client.md), so its
client runs in threads of its own and hands back bytes; whoever calls decodes the little that it needs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, TypeVar

import plaid
import structlog
import urllib3
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from core.byte_budget import ByteBudget
from core.errors import RetryLaterError
from core.plaid.errors import classify
from core.settings import Settings

log = structlog.get_logger()

PLAID_VERSION = "2020-09-14"
AUTH = ("clientId", "plaidVersion", "secret")
JSON_HEADERS = {"Accept": "application/json", "Content-Type": "application/json"}
ATTEMPTS = 3
LARGE_BYTES = 64 * 1024
# A full page is about 900 kB; what does not tell its length (chunked, gzip) is counted as one.
UNTOLD_BYTES = 1024 * 1024

R = TypeVar("R")
Again = Callable[[], Awaitable[None]]


def _is_transient(error: BaseException) -> bool:
    # A rate limit is not: trying again at once spends the budget that the fleet is short of.
    return isinstance(error, RetryLaterError) and error.error_type in {"API_ERROR", "HTTP", "NETWORK"}


class PlaidClient:
    """One per process. Every call has a time-out, and tries transient failures again up to three times.

    Large bodies are read when `memory` has room for them.

    Raises of every call:
        SyncError: with the verdict of Plaid's error, or `RetryLaterError` for a network that failed.
    """

    def __init__(self, settings: Settings, secret: str, memory: ByteBudget | None = None) -> None:
        keys = {"clientId": settings.plaid_client_id, "secret": secret, "plaidVersion": PLAID_VERSION}
        configuration = plaid.Configuration(host=settings.plaid_host, api_key=keys)
        # Ours is the one that counts attempts: urllib3's would multiply them, and follow redirects.
        configuration.retries = False
        configuration.connection_pool_maxsize = settings.plaid_concurrency
        self._api = plaid.ApiClient(configuration)
        self._timeout = (settings.connect_timeout_seconds, settings.plaid_timeout_seconds)
        self._page_size = settings.sync_page_size
        self._memory = memory or ByteBudget(settings.sync_memory_mb * 2**20)
        self._threads = ThreadPoolExecutor(settings.plaid_concurrency, thread_name_prefix="plaid")

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
            wait=wait_exponential_jitter(multiplier=0.2, max=5),
            stop=stop_after_attempt(ATTEMPTS),
            reraise=True,
        )
        return await attempts(self._attempt, path, body, again, count())

    async def _attempt(self, path: str, body: Mapping[str, Any], again: Again | None, before: Iterator[int]) -> bytes:
        if next(before) and again is not None:
            await again()
        return await self._post_once(path, body)

    async def _post_once(self, path: str, body: Mapping[str, Any]) -> bytes:
        answer = await self._in_thread(path, lambda: self._ask(path, dict(body)))
        if isinstance(answer, bytes):
            return answer
        # The server waits with a large body until there is room: a hundred of them at once are a worker's memory.
        try:
            async with self._memory.held(_length(answer) or UNTOLD_BYTES):
                return await self._in_thread(path, lambda: _read(answer))
        except BaseException:
            answer.close()
            raise

    async def _in_thread(self, path: str, call: Callable[[], R]) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._with_our_errors, path, call)

    def _with_our_errors(self, path: str, call: Callable[[], R]) -> R:
        try:
            return call()
        except plaid.ApiException as error:
            raise self._meaning(path, error) from None
        except (urllib3.exceptions.HTTPError, AttributeError, UnicodeDecodeError) as error:
            # AttributeError: plaid-python decodes the body that a failed TLS handshake does not have.
            raise RetryLaterError(type(error).__name__, error_type="NETWORK") from None

    def _ask(self, path: str, body: dict[str, Any]) -> bytes | urllib3.BaseHTTPResponse:
        """Return a small body, or the answer whose large one is still to be read."""
        options = {"auth_settings": AUTH, "_preload_content": False, "_request_timeout": self._timeout}
        answer: urllib3.BaseHTTPResponse = self._api.call_api(
            path, "POST", header_params=dict(JSON_HEADERS), body=body, **options
        )
        length = _length(answer)
        return answer if length is None or length > LARGE_BYTES else _read(answer)

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

    def close(self) -> None:
        """Drop idle connections; a call under way ends by its time-out, nobody waits for it."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._api.rest_client.pool_manager.clear()


def _length(answer: urllib3.BaseHTTPResponse) -> int | None:
    """Return how many bytes the body takes, None where the answer does not tell."""
    length = answer.headers.get("Content-Length") or ""
    return int(length) if length.isdecimal() and "Content-Encoding" not in answer.headers else None


def _read(answer: urllib3.BaseHTTPResponse) -> bytes:
    content = answer.read(decode_content=True)
    answer.release_conn()
    return content
