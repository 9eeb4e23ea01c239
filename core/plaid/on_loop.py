"""plaid-python's transport on the event loop: the same request goes out, and the answer is awaited.

plaid-python keeps its HTTP client in one attribute, `rest_client`, to which it hands the finished request. With this
one there, its configuration, paths, headers and errors stay, and no thread is woken for an answer.
"""

from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec
import plaid

# Of the answers, for our own size limit counts what comes over the wire.
NOT_COMPRESSED = {"Accept-Encoding": "identity"}


class OnLoop:
    """Answers of one event loop, over kept-alive connections; certificates are always verified.

    Redirects are not followed and cookies not kept: a request holds an access token.
    """

    def __init__(self, configuration: plaid.Configuration, *, connect_seconds: float, read_seconds: float) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=configuration.connection_pool_maxsize),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=NOT_COMPRESSED,
            # Not in all: a large page waits for memory, and a call for one of the connections.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds, sock_read=read_seconds),
        )

    async def POST(self, url: str, *, headers: Mapping[str, str], body: Any, **_: Any) -> aiohttp.ClientResponse:  # noqa: N802 - plaid-python's name
        """Return the head of a 2xx answer; whoever called reads its body, or closes it.

        Raises:
            plaid.ApiException: another status, with its headers and body.
            aiohttp.ClientError, TimeoutError: the network.
        """
        data = msgspec.json.encode(body)
        answer = await self._session.post(url, headers=headers, data=data, allow_redirects=False)
        if answer.ok and answer.status < 300:  # noqa: PLR2004 - HTTP's number
            return answer
        async with answer:
            error = plaid.ApiException(status=answer.status, reason=answer.reason)
            error.headers = answer.headers
            error.body = (await answer.read()).decode(errors="replace")
            raise error

    async def aclose(self) -> None:
        """Close every connection; calls under way fail."""
        await self._session.close()
