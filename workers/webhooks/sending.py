"""One attempt at a delivery: the request to an endpoint, and what came of it.

Nothing here raises for what an endpoint does or does not do: whatever it is, it is an :class:`AttemptResult`. When to
try again is decided by who asked for the attempt. Sources: wire specification 11.3 and 11.5.
"""

import asyncio
import functools
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
import httpx
import structlog
from yarl import URL

from realtime.settings import Settings
from realtime.triggers.model import Webhook
from workers.outbound.connector import PublicOnlyConnector
from workers.outbound.guard import Guard
from workers.outbound.targets import Target, parse_target
from workers.store.sealing import Sealer, UnsealError
from workers.webhooks.failures import EXPECTED, describe, refusal
from workers.webhooks.request import Credentials, Delivery, request_headers, user_agent
from workers.webhooks.response import excerpt, parse_retry_after

log = structlog.get_logger("realtime.webhooks")

_KNOWN_ENDPOINTS = 4_096


class AttemptResult(NamedTuple):
    """What came of an attempt."""

    started_at: float
    """When it began, in Unix seconds."""
    duration_s: float
    status: int = 0
    """The status code of the response; 0 for no response."""
    response: str = ""
    """The beginning of the body of the response, as text that every database keeps."""
    error: str = ""
    """What went wrong besides the status; empty for nothing. Names no address of this network."""
    refused: bool = False
    """Whether nothing may be sent there, so that nothing was: wire specification 11.5."""
    unsigned: bool = False
    """Whether nothing was sent since this server cannot decrypt the webhook's secrets: not the endpoint's fault."""
    retry_after_s: float | None = None
    """How long the endpoint wants to be left alone, counted from the start; None if it does not say."""

    @property
    def is_success(self) -> bool:
        """Whether the endpoint has taken it: it said so with 2xx, and nothing went wrong after that."""
        return 200 <= self.status < 300 and not self.error


class _Endpoint(NamedTuple):
    """A webhook as it is used over and over."""

    target: Target
    url: URL
    tls: ssl.SSLContext | bool
    """Verifies its certificate; False if nothing does."""
    credentials: Credentials
    former_credentials: Credentials
    """As long as the former secret signs too."""


class _Received:
    """What has come of a response."""

    __slots__ = ("body", "retry_after", "status")

    def __init__(self) -> None:
        self.status = 0
        self.retry_after = ""
        self.body = bytearray()


class Sender:
    """Makes attempts, many at a time, for one event loop. Used within :meth:`running`.

    How many at a time, and to whom, is up to the caller: no attempt waits for a connection that another one has.

    Args:
        settings: limits, and whom to tell of abuse.
        guard: what may be connected to.
        sealer: unseals the secrets of webhooks.
        tls: verifies certificates; None for the authorities that browsers know.
    """

    def __init__(
        self, settings: Settings, guard: Guard, sealer: Sealer, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self._guard = guard
        self._sealer = sealer
        self._agent = user_agent(settings.webhooks_contact)
        self._timeout_s = settings.webhooks_timeout_s
        # The total is kept by this class. To the millisecond: longer ones are rounded up otherwise.
        self._timeout = aiohttp.ClientTimeout(
            connect=settings.webhooks_connect_timeout_s, ceil_threshold=float("inf")
        )
        self._response_max_bytes = settings.webhooks_response_max_bytes
        # As many as are in use may be kept for later.
        self._max_connections = 2 * settings.webhooks_concurrency
        self._tls = tls or _authorities()
        self._endpoint = functools.lru_cache(_KNOWN_ENDPOINTS)(self._read)
        self._session: aiohttp.ClientSession

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep connections to endpoints for further attempts, and close them at the end."""
        self._session = aiohttp.ClientSession(
            connector=PublicOnlyConnector(self._guard, max_connections=self._max_connections),
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        async with self._session:
            yield

    async def attempt(self, webhook: Webhook, delivery: Delivery) -> AttemptResult:
        """Send ``delivery`` to ``webhook``, as that is now, and return what came of it.

        It makes one request at most, and ends within ``webhooks_timeout_s``. Cancelled, it has made it or not.
        """
        started_at, started = time.time(), time.perf_counter()
        received = _Received()
        error = refused = ""
        unsigned = False
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._send(webhook, delivery, started_at, received)
        except EXPECTED as raised:
            refused = refusal(raised)
            error = (
                f"Webhook target {_host(webhook.url)} rejected: {refused}" if refused else describe(raised)
            )
            if unsigned := isinstance(raised, UnsealError):
                log.error(  # noqa: TRY400 - the text says all there is
                    "a webhook cannot be signed for", project=delivery.project_id, webhook=webhook.id
                )
        return AttemptResult(
            started_at,
            time.perf_counter() - started,
            received.status,
            excerpt(bytes(received.body)),
            error,
            bool(refused),
            unsigned,
            parse_retry_after(received.retry_after, started_at),
        )

    async def _send(self, webhook: Webhook, delivery: Delivery, now: float, received: _Received) -> None:
        endpoint = self._endpoint(webhook)
        self._guard.judge(endpoint.target)
        signs_twice = webhook.former_secret_until > now
        credentials = endpoint.former_credentials if signs_twice else endpoint.credentials
        async with self._session.post(
            endpoint.url,
            data=delivery.payload,
            headers=request_headers(webhook, delivery, credentials, int(now), self._agent),
            ssl=endpoint.tls,
            allow_redirects=False,
        ) as response:
            received.status = response.status
            received.retry_after = response.headers.get("Retry-After", "")
            if not await self._receive(response, received.body):
                response.close()

    async def _receive(self, response: aiohttp.ClientResponse, body: bytearray) -> bool:
        """Read the body up to the limit, as it was sent; return False if there is more."""
        async for block in response.content.iter_any():
            body += block
            if len(body) > self._response_max_bytes:
                return False
        return True

    def _read(self, webhook: Webhook) -> _Endpoint:
        """Return what is used of ``webhook`` again and again.

        Raises:
            TargetError: its URL can no longer be the target of a webhook.
            UnsealError: its secret or password was sealed with a key that is gone.
        """
        target = parse_target(webhook.url)
        # The host as it was judged: how another parser reads it does not matter.
        url = URL(webhook.url).with_host(target.host)
        secret = self._sealer.unseal(webhook.secret)
        former = self._unseal_former(webhook)
        password = self._sealer.unseal(webhook.auth_password)
        return _Endpoint(
            target,
            url,
            self._tls if webhook.tls else False,
            Credentials((secret,), password),
            Credentials((secret, former) if former else (secret,), password),
        )

    def _unseal_former(self, webhook: Webhook) -> str:
        """Return the former secret; empty if it cannot be decrypted: a new secret is what cures a lost key."""
        try:
            return self._sealer.unseal(webhook.former_secret)
        except UnsealError:
            log.warning("the former secret of a webhook cannot be decrypted", webhook=webhook.id)
            return ""


def _host(url: str) -> str:
    """Return the host that ``url`` names, for people to read; all of it if that is no URL."""
    try:
        return urlsplit(url).hostname or url
    except ValueError:
        return url


@functools.cache
def _authorities() -> ssl.SSLContext:
    """Return the context that all senders share: to read the certificates of all authorities takes a while."""
    return httpx.create_ssl_context(trust_env=False)
