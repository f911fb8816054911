"""What a request may carry: how large its body is, how long that takes to arrive, and no NUL characters.

The limits hold while the body is read, whoever reads it. NUL is refused since PostgreSQL cannot store it; SQLite can,
and would hand it to clients that cannot.
"""

import asyncio
import re
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workers.api.errors import ApiError, Refused, bad_request, too_large, too_late

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000|\x00")
_CARRIED = 64
"""How many bytes of a chunk are looked at again with the next one, in which the escape may end."""


class BodyLimits:
    """ASGI middleware that hands a body on piece by piece, and ends the reading when a limit is broken.

    What breaks one raises :class:`~workers.api.errors.Refused` in the reader: 413, 408 or 400.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_bytes: int,
        timeout_s: float,
        except_paths: Collection[str] = (),
        upload_paths: re.Pattern[str] | None = None,
    ) -> None:
        """Serve ``app``. The routes at ``except_paths`` have limits of their own.

        Forms that are sent to ``upload_paths`` have too, but must go on arriving: no pause may last ``timeout_s``.
        """
        self._app = app
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._except_paths = frozenset(except_paths)
        self._upload_paths = upload_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] in self._except_paths:
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if self._is_upload(scope["path"], headers):
            await self._app(scope, _Upload(receive, self._timeout_s).receive, send)
            return
        body = _Body(receive, self._max_bytes, self._timeout_s)
        body.expect(headers.get(b"content-length", b""))
        await self._app(scope, body.receive, send)

    def _is_upload(self, path: str, headers: dict[bytes, bytes]) -> bool:
        return (
            headers.get(b"content-type", b"").lower().startswith(b"multipart/form-data")
            and self._upload_paths is not None
            and self._upload_paths.fullmatch(path) is not None
        )


class _Upload:
    """The body of a request with a file, as it arrives."""

    def __init__(self, receive: Receive, timeout_s: float) -> None:
        self._receive = receive
        self._timeout_s = timeout_s
        self._complete = False

    async def receive(self) -> Message:
        """Return the next piece, or what the server has to say after the last one."""
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout(self._timeout_s):
                message = await self._receive()
        except TimeoutError as error:
            raise Refused(too_late(self._timeout_s)) from error
        self._complete = not message.get("more_body", False)
        return message


class _Body:
    """The body of one request, as it arrives."""

    def __init__(self, receive: Receive, max_bytes: int, timeout_s: float) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._declared_bytes = 0
        self._received_bytes = 0
        self._tail = b""
        self._deadline: float | None = None
        self._complete = False

    def expect(self, content_length: bytes) -> None:
        """Take note of what the request says of itself."""
        if content_length.isdigit():
            self._declared_bytes = int(content_length[:20])

    async def receive(self) -> Message:
        """Return the next piece, or what the server has to say after the last one."""
        if self._complete:
            return await self._receive()
        if self._declared_bytes > self._max_bytes:
            raise Refused(too_large(self._max_bytes))
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._timeout_s
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError as error:
            raise Refused(too_late(self._timeout_s)) from error
        if message["type"] == "http.request":
            self._check(message.get("body", b""))
            self._complete = not message.get("more_body", False)
        return message

    def _check(self, chunk: bytes) -> None:
        self._received_bytes += len(chunk)
        if self._received_bytes > self._max_bytes:
            raise Refused(too_large(self._max_bytes))
        text = self._tail + chunk if self._tail else chunk
        if (b"\\u0000" in text or b"\x00" in text) and _NUL.search(text):
            raise Refused(_nul_refused())
        self._tail = text[-_CARRIED:]


def _nul_refused() -> ApiError:
    return bad_request("The request body holds a NUL character, which cannot be stored.")
