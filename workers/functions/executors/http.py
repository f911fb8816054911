"""Functions that live at a URL: a call is a signed request there, and the response is the outcome.

The signature is that of Standard Webhooks over execution ID, time and body, by a secret that the function has as a
variable; so whoever serves the URL can tell these calls from others, and one that comes again from a new one.
"""

import functools
import ssl
import time
from collections.abc import Callable, Mapping

import aiohttp
import httpx

from realtime.settings import Settings
from workers.functions.executor import FAILED, Call, Failure, Outcome
from workers.functions.executors.urls import url_of_call
from workers.outbound.connector import PublicOnlyConnector
from workers.outbound.guard import Guard
from workers.outbound.signing import standard_signature
from workers.outbound.targets import parse_target
from workers.store.sealing import UnsealError
from workers.webhooks.failures import EXPECTED, describe, refusal

SECRET_VARIABLE = "SIGNING_SECRET"  # noqa: S105 - the name of a variable
"""The variable of a function that its calls are signed with."""

_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=10.0)
"""The total is kept by the caller."""

_MAX_CONNECTIONS = 200
"""How many may be open for one to be kept; how many calls there are at once is up to the caller."""

_NOT_REACHED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)

# RFC 9110 section 7.6.1, and what this connection says for itself.
_OF_THE_CONNECTION = frozenset({
    "accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "proxy-authenticate",
    "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    "webhook-id", "webhook-signature", "webhook-timestamp",
})  # fmt: skip
_NOT_OF_THE_RESPONSE = frozenset({"connection", "keep-alive", "trailer", "transfer-encoding", "upgrade"})

_NO_SECRET = (
    f"The function was not called: it has no variable {SECRET_VARIABLE}, which calls to its URL are signed with. "
    "Give it a long random value, and the same to whoever serves the URL."
)


class HttpExecutor:
    """Calls functions at their URLs. Implements :class:`workers.functions.executor.Executor`.

    Args:
        guard: what may be connected to.
        max_response_bytes: how large the body of a response may be.
        clock: Unix time in seconds.
    """

    def __init__(
        self, guard: Guard, *, max_response_bytes: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._guard = guard
        self._max_response_bytes = max_response_bytes
        self._clock = clock
        self._target = functools.lru_cache(1_024)(parse_target)
        # Made by the first call: it belongs to the event loop.
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> "HttpExecutor":
        """Return an executor within the limits of the settings."""
        return cls(Guard.from_settings(settings), max_response_bytes=settings.functions_response_max_bytes)

    async def execute(self, call: Call) -> Outcome:
        """Send the request, and return the response. Redirects are responses like any other."""
        try:
            secret = call.variables().get(SECRET_VARIABLE, "")
        except UnsealError as error:
            return _failed(Failure.CRASH, str(error))
        if not secret:
            return _failed(Failure.CRASH, _NO_SECRET)
        try:
            return await self._send(call, secret)
        except httpx.InvalidURL as error:
            return _failed(Failure.CRASH, f"The function's URL cannot be called with this path: {error}.")
        except EXPECTED as error:
            reason = refusal(error)
            if reason or isinstance(error, _NOT_REACHED):
                text = f"The function's URL cannot be reached: {reason or describe(error)}"
                return _failed(Failure.UNREACHABLE, text)
            return _failed(Failure.CRASH, f"The function's URL did not answer properly: {describe(error)}")

    async def aclose(self) -> None:
        """Close the connections that are kept open."""
        if self._session is not None:
            await self._session.close()

    async def _send(self, call: Call, secret: str) -> Outcome:
        self._guard.judge(self._target(call.code.entrypoint))
        async with self._open_session().request(
            call.method,
            url_of_call(call.code.entrypoint, call.path),
            headers=_request_headers(call, secret, int(self._clock())),
            data=call.body,
            ssl=_authorities(),
            allow_redirects=False,
        ) as response:
            body = bytearray()
            async for block in response.content.iter_any():
                body += block
                if len(body) > self._max_response_bytes:
                    response.close()
                    text = f"The function's response is larger than {self._max_response_bytes} bytes."
                    return _failed(Failure.CRASH, text)
        return Outcome(response.status, _response_headers(response), bytes(body))

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=PublicOnlyConnector(self._guard, max_connections=_MAX_CONNECTIONS),
                timeout=_TIMEOUT,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("accept", "content-type", "user-agent"),
            )
            # What a server has hung up on may have begun to run, whatever the method. There is no option for that.
            self._session._retry_connection = False  # noqa: SLF001
        return self._session


def _request_headers(call: Call, secret: str, now: int) -> dict[str, str]:
    own = {
        # What is not compressed does not grow when it is read.
        "accept-encoding": "identity",
        "webhook-id": call.execution_id,
        "webhook-timestamp": str(now),
        "webhook-signature": standard_signature((secret,), call.execution_id, now, call.body),
    }
    given = {name: value for name, value in call.headers.items() if name not in _OF_THE_CONNECTION}
    return given | own


def _response_headers(response: aiohttp.ClientResponse) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.raw_headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name not in _NOT_OF_THE_RESPONSE:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _failed(failure: Failure, text: str) -> Outcome:
    return Outcome(FAILED, errors=text, failure=failure)


@functools.cache
def _authorities() -> ssl.SSLContext:
    """Return what certificates are verified by: to read those of all authorities takes a while."""
    return httpx.create_ssl_context(trust_env=False)
