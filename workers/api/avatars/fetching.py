"""Fetching what a stranger named: a URL of the public internet, a bounded number of bytes, in a bounded time.

Redirects are not followed, as the reference says, and nothing is unpacked. Unlike webhooks, which are made with an API
key, anybody can ask for this: so whatever the settings allow webhooks, only public addresses are connected to.
"""

import asyncio
import functools
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import httpx

from realtime import __version__
from workers.outbound.guard import Guard, PublicOnlyTransport
from workers.outbound.lookups import LookUps, LookUpsBusyError

FETCH_TIMEOUT_S = 10.0
"""How long a fetch may take in all."""

_HEADERS = {
    "Accept-Encoding": "identity",
    "User-Agent": f"realtime/{__version__} (fetches pictures that users ask for)",
}

# Apart from those of webhooks and mail servers, which strangers must not keep from being found.
_LOOK_UPS = LookUps(threads=32, max_waiting=64, thread_name="realtime-strangers-names")


class FetchError(Exception):
    """Nothing of use came back."""


def strict_guard() -> Guard:
    """Return the guard that lets through what everybody may connect to, and nothing else."""
    return Guard(look_up=_LOOK_UPS)


async def fetch(url: str, *, max_bytes: int, truncate: bool = False) -> bytes:
    """Return what ``url`` answers with.

    Args:
        url: of HTTP or HTTPS.
        max_bytes: how much it may be.
        truncate: whether more than that is cut off rather than refused.

    Raises:
        workers.outbound.targets.TargetError: nobody may have this server connect there; the text says why.
        LookUpsBusyError: too many hosts are being looked up.
        FetchError: it does not answer, not in time, with a redirect or an error, or with too much.
    """
    guard = strict_guard()
    try:
        await guard.check(url, must_resolve=True)
    except LookUpsBusyError:
        raise
    except OSError as error:
        raise FetchError from error
    try:
        async with asyncio.timeout(FETCH_TIMEOUT_S), _answer(guard, url) as answer:
            return await _body(answer, max_bytes, truncate=truncate)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise FetchError from error


@asynccontextmanager
async def _answer(guard: Guard, url: str) -> AsyncGenerator[AsyncIterator[bytes], None]:
    """Yield the body of the answer of ``url``, as it was sent."""
    async with (
        httpx.AsyncClient(
            transport=PublicOnlyTransport(guard, verify=_tls()),
            headers=_HEADERS,
            timeout=FETCH_TIMEOUT_S,
            trust_env=False,
        ) as client,
        client.stream("GET", url) as response,
    ):
        if response.status_code != httpx.codes.OK or "content-encoding" in response.headers:
            raise FetchError
        yield response.aiter_raw()


async def _body(blocks: AsyncIterator[bytes], max_bytes: int, *, truncate: bool) -> bytes:
    body = bytearray()
    async for block in blocks:
        body += block
        if len(body) > max_bytes:
            if truncate:
                break
            raise FetchError
    return bytes(body[:max_bytes])


@functools.cache
def _tls() -> ssl.SSLContext:
    """Return the context that connections share: to read the certificates of all authorities takes a while."""
    return httpx.create_ssl_context(trust_env=False)
