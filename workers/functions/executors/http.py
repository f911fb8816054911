"""Functions that live at a URL: a call is a signed request there, and the response is the outcome.

The signature is that of Standard Webhooks over execution ID, time and body, by a secret that the function has as a
variable; so whoever serves the URL can tell these calls from others, and one that comes again from a new one.
"""

import time
from collections.abc import Callable, Iterable, Mapping

import httpx

from realtime.settings import Settings
from workers.functions.executor import FAILED, Call, Failure, Outcome
from workers.functions.executors.urls import url_of_call
from workers.outbound.guard import Guard, PublicOnlyTransport
from workers.outbound.signing import standard_signature
from workers.store.sealing import UnsealError

SECRET_VARIABLE = "SIGNING_SECRET"  # noqa: S105 - the name of a variable
"""The variable of a function that its calls are signed with."""

_CONNECT_TIMEOUT_S = 10.0

_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100)
"""How many calls there are at once is up to the caller; none waits for another one's connection."""

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
        self._transport = PublicOnlyTransport(guard, limits=_LIMITS)
        self._max_response_bytes = max_response_bytes
        self._clock = clock

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
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return _failed(Failure.UNREACHABLE, f"The function's URL cannot be reached: {error}")
        except httpx.InvalidURL as error:
            return _failed(Failure.CRASH, f"The function's URL cannot be called with this path: {error}.")
        except httpx.TransportError as error:
            return _failed(
                Failure.CRASH, f"The function's URL did not answer properly: {type(error).__name__}."
            )

    async def aclose(self) -> None:
        """Close the connections that are kept open."""
        await self._transport.aclose()

    async def _send(self, call: Call, secret: str) -> Outcome:
        # The transport alone: no cookies that go from one call to the next, no redirects, no headers of its own.
        request = httpx.Request(
            call.method,
            url_of_call(call.code.entrypoint, call.path),
            headers=_request_headers(call, secret, int(self._clock())),
            content=call.body,
            extensions={"timeout": {"connect": _CONNECT_TIMEOUT_S}},
        )
        response = await self._transport.handle_async_request(request)
        try:
            body = await self._read(response)
        finally:
            await response.aclose()
        if body is None:
            return _failed(
                Failure.CRASH, f"The function's response is larger than {self._max_response_bytes} bytes."
            )
        return Outcome(response.status_code, _response_headers(response), body)

    async def _read(self, response: httpx.Response) -> bytes | None:
        """Return the body, as it was sent; None if it is too large."""
        body = bytearray()
        async for block in response.aiter_raw():
            body += block
            if len(body) > self._max_response_bytes:
                return None
        return bytes(body)


def _request_headers(call: Call, secret: str, now: int) -> list[tuple[bytes, bytes]]:
    own = {
        # What is not compressed does not grow when it is read.
        "accept-encoding": "identity",
        "webhook-id": call.execution_id,
        "webhook-timestamp": str(now),
        "webhook-signature": standard_signature((secret,), call.execution_id, now, call.body),
    }
    given = {name: value for name, value in call.headers.items() if name not in _OF_THE_CONNECTION}
    return [(name.encode(), value.encode("latin-1")) for name, value in {**given, **own}.items()]


def _response_headers(response: httpx.Response) -> Mapping[str, str]:
    pairs: Iterable[tuple[bytes, bytes]] = response.headers.raw
    headers: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name not in _NOT_OF_THE_RESPONSE:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _failed(failure: Failure, text: str) -> Outcome:
    return Outcome(FAILED, errors=text, failure=failure)
