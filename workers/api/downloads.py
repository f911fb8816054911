"""Responses with the bytes of a file: whole or a range of it, and harmless on the origin of the API.

What people upload is shown under the address of the API, where a page or an SVG could run scripts in the name of
whoever looks at it. So only types that cannot are shown as what they are; no type is guessed by the browser; and a
policy keeps scripts off also there. Sources: RFC 9110 sections 13 and 14, RFC 6266.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from http import HTTPStatus
from typing import Literal
from urllib.parse import quote

import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from workers.api.errors import Refused
from workers.api.problems import Problem, refuse
from workers.files.store import FileStore, MissingFileError

Disposition = Literal["inline", "attachment"]
"""Whether a browser shows a file, or saves it."""

SAFE_TYPES = frozenset({
    "application/json", "application/pdf", "audio/aac", "audio/flac", "audio/mp4", "audio/mpeg", "audio/ogg",
    "audio/wav", "audio/webm", "audio/x-m4a", "audio/x-wav", "image/apng", "image/avif", "image/bmp", "image/gif",
    "image/heic", "image/jpeg", "image/png", "image/tiff", "image/vnd.microsoft.icon", "image/webp", "image/x-icon",
    "text/plain", "video/mp4", "video/mpeg", "video/ogg", "video/quicktime", "video/webm",
})  # fmt: skip
"""Types that a browser may show as what they are: none of them runs scripts."""

_SCRIPTLESS = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"
_CACHING = "private, no-cache"
"""Kept by the browser alone, and asked for each time: who may see a file can change."""

_NOT_MODIFIED = frozenset({"Cache-Control", "ETag", "Last-Modified"})
"""What of the head a 304 repeats (RFC 9110 section 15.4.5)."""

_STALL_TIMEOUT_S = 60
"""How long a client may take for one block of a file, of :data:`~workers.files.store.BLOCK_BYTES` at most."""

_LOG = structlog.get_logger("realtime.api")

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)
_UNSAFE = re.compile(r'[^ -~]|["\\%]')
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,63}/[a-z0-9!#$&^_.+-]{1,63}")


@dataclass(frozen=True, slots=True)
class Download:
    """A file to be sent."""

    key: str
    """Where its bytes are."""
    size_bytes: int
    name: str
    """What it is saved as."""
    content_type: str
    """What it claims to be; anything that is not well-formed counts as unknown."""
    etag: str
    """Tells these bytes from any others of the same address: printable ASCII without quotes."""
    changed_at: str = ""
    """When it was made, as :mod:`workers.store.times` writes it; empty if that is not told."""


async def file_response(
    request: Request, files: FileStore, download: Download, *, disposition: Disposition = "inline"
) -> Response:
    """Return the response to ``request`` with the bytes of ``download``: 200, 206 for a range, or 304.

    A ``HEAD`` request gets the same head and no bytes. Of several ranges at once nothing is made: that is 200.

    Raises:
        ApiError: 404, the bytes are gone.
        Refused: 416, no byte of the range is in the file.
        OSError: the file store fails.
    """
    headers = _headers(download, disposition)
    if _is_known(request, headers):
        kept = {name: value for name, value in headers.items() if name in _NOT_MODIFIED}
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=kept)
    status, start, end = HTTPStatus.OK, 0, download.size_bytes
    chosen = parse_range(request.headers.get("range", ""), download.size_bytes)
    if chosen is not None and _range_applies(request, headers):
        start, end = chosen
        if start >= end:
            raise _unsatisfiable(download.size_bytes)
        status = HTTPStatus.PARTIAL_CONTENT
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{download.size_bytes}"
    headers["Content-Length"] = str(end - start)
    if request.method == "HEAD" or start == end:
        return Response(status_code=status, headers=headers)
    blocks = files.read(download.key, start, end)
    try:
        first = await anext(blocks)
    except MissingFileError as error:
        raise refuse(Problem.FILE_NOT_FOUND) from error
    return _Stream(first, blocks, status, headers)


class _BrokenOffError(Exception):
    """The rest of a file is not sent: the client does not take it, or the store does not have it."""


class _Stream(StreamingResponse):
    """A response that closes what it reads from, also when the client goes away, or stays and takes nothing.

    One that breaks off is shorter than its ``Content-Length``; the server closes the connection.
    """

    def __init__(
        self, first: bytes, blocks: AsyncGenerator[bytes, None], status: int, headers: dict[str, str]
    ) -> None:
        self._blocks = blocks
        super().__init__(_chain(first, blocks), status, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(_STALL_TIMEOUT_S):
                    await send(message)
            except TimeoutError as error:
                raise _BrokenOffError("the client takes nothing") from error

        try:
            await super().__call__(scope, receive, send_in_time)
        except _BrokenOffError as error:
            _LOG.warning("a download broke off", path=scope["path"], error=str(error))
        finally:
            await self._blocks.aclose()


async def _chain(first: bytes, blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    try:
        async for block in blocks:
            yield block
    except OSError as error:
        raise _BrokenOffError(type(error).__name__) from error


def parse_range(header: str, size_bytes: int) -> tuple[int, int] | None:
    """Return the first byte and the one after the last that ``Range`` asks for, of a file of ``size_bytes``.

    None if the header is empty, not understood, or asks for several ranges: it is then ignored (RFC 9110 section
    14.2). The first is not before the second if the file has none of the bytes.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:
        return max(0, size_bytes - int(match[2])), size_bytes
    start = int(match[1])
    if not match[2]:
        return start, size_bytes
    if int(match[2]) < start:
        return None
    return start, min(int(match[2]) + 1, size_bytes)


def content_disposition(disposition: Disposition, name: str) -> str:
    """Return the header ``Content-Disposition`` for a file of any name, as RFC 6266 says (appendix D)."""
    plain = _UNSAFE.sub("_", name)
    value = f'{disposition}; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, safe='')}"


def _headers(download: Download, disposition: Disposition) -> dict[str, str]:
    content_type, disposition = _shown_as(download.content_type, disposition)
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": _CACHING,
        "Content-Disposition": content_disposition(disposition, download.name),
        "Content-Security-Policy": _policy(content_type),
        "Content-Type": content_type,
        "ETag": f'"{download.etag}"',
        "X-Content-Type-Options": "nosniff",
    }
    if download.changed_at:
        moment = datetime.fromisoformat(download.changed_at).astimezone(UTC)
        headers["Last-Modified"] = format_datetime(moment, usegmt=True)
    return headers


def _shown_as(claimed: str, disposition: Disposition) -> tuple[str, Disposition]:
    """Return the type that a file is sent as, and whether it is shown."""
    kind = claimed.partition(";")[0].strip().lower()
    if not _TYPE.fullmatch(kind):
        return "application/octet-stream", "attachment"
    if disposition == "attachment":
        return kind, disposition
    if kind == "text/plain" or (kind not in SAFE_TYPES and _is_text(kind)):
        return "text/plain; charset=utf-8", disposition
    return kind, disposition if kind in SAFE_TYPES else "attachment"


def _is_text(kind: str) -> bool:
    return kind.startswith("text/") or kind.endswith(
        ("/xml", "+xml", "+json", "/javascript", "/x-javascript")
    )


def _policy(content_type: str) -> str:
    # Viewers of PDF are pages of the browser's own, which a sandbox keeps off.
    return _SCRIPTLESS if content_type == "application/pdf" else f"{_SCRIPTLESS}; sandbox"


def _is_known(request: Request, headers: dict[str, str]) -> bool:
    """Tell whether the client has these bytes already (RFC 9110 sections 13.1.2 and 13.1.3)."""
    known = request.headers.get("if-none-match")
    if known is not None:
        tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
        return "*" in tags or headers["ETag"] in tags
    since = _moment(request.headers.get("if-modified-since", ""))
    changed = _moment(headers.get("Last-Modified", ""))
    return since is not None and changed is not None and changed <= since


def _range_applies(request: Request, headers: dict[str, str]) -> bool:
    """Tell whether the client's other part is of these bytes (RFC 9110 section 13.1.5)."""
    condition = request.headers.get("if-range")
    return condition is None or condition in (headers["ETag"], headers.get("Last-Modified"))


def _moment(header: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        # What is no date, as one of the year 10^20 is none, is ignored (RFC 9110 section 13.1.3).
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _unsatisfiable(size_bytes: int) -> Refused:
    refused = Refused(refuse(Problem.RANGE))
    refused.headers = {"Content-Range": f"bytes */{size_bytes}"}
    return refused
