"""One attempt at a delivery: the request to an endpoint, and what came of it.

Nothing here raises for what an endpoint does or does not: whatever it is, it is an :class:`AttemptResult`. When to try
again is decided by who asked for the attempt. Sources: wire specification 11.3 and 11.5.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import httpx

from realtime.settings import Settings
from realtime.triggers.model import Webhook
from workers.outbound.guard import Guard, PublicOnlyTransport
from workers.store.sealing import Sealer
from workers.webhooks.request import Credentials, Delivery, request_headers, user_agent


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
    """Whether nothing may be sent there, so that nothing was: spec 11.5."""
    retry_after_s: float | None = None
    """How long the endpoint wants to be left alone, counted from now on; None if it does not say."""

    @property
    def is_success(self) -> bool:
        """Whether the endpoint has taken it."""
        return 200 <= self.status < 300 and not self.error


class Sender:
    """Makes attempts, many at a time, for one event loop. Used within :meth:`running`."""

    def __init__(self, settings: Settings, guard: Guard, sealer: Sealer) -> None:
        self._settings = settings
        self._guard = guard
        self._sealer = sealer
        self._agent = user_agent(settings.webhooks_contact)
        self._clients: dict[bool, httpx.AsyncClient] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep connections to endpoints open for further attempts, and close them at the end."""
        for tls in (True, False):
            transport = PublicOnlyTransport(self._guard, verify=tls)
            self._clients[tls] = httpx.AsyncClient(transport=transport, trust_env=False)
        try:
            yield
        finally:
            for client in self._clients.values():
                await client.aclose()

    async def attempt(self, webhook: Webhook, delivery: Delivery) -> AttemptResult:
        """Send ``delivery`` to ``webhook``, as that is now, and return what came of it.

        Raises:
            UnsealError: a secret of the webhook cannot be decrypted.
        """
        started_at, started = time.time(), time.perf_counter()
        credentials = Credentials(
            (self._sealer.unseal(webhook.secret),), self._sealer.unseal(webhook.auth_password)
        )
        headers = request_headers(webhook, delivery, credentials, int(started_at), self._agent)
        try:
            async with asyncio.timeout(self._settings.webhooks_timeout_s):
                response = await self._clients[webhook.tls].post(
                    webhook.url, content=delivery.payload, headers={k: v.encode() for k, v in headers.items()}
                )
        except (httpx.HTTPError, TimeoutError) as error:
            return AttemptResult(started_at, time.perf_counter() - started, error=type(error).__name__)
        return AttemptResult(
            started_at, time.perf_counter() - started, status=response.status_code, response=response.text
        )
