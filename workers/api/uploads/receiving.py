"""Receiving a file: the form of a request, streamed into a temporary file that has no name.

The system frees such a file when it is closed, also by a crash, so nothing is left behind, however a request ends. In
memory there is never more than a block or two of a body, whatever its size.
"""

import contextlib
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from workers.api.errors import bad_request, too_large
from workers.api.problems import Problem, refuse
from workers.api.services import services_of
from workers.api.uploads.forms import MAX_FIELD_BYTES, Form, InvalidFormError
from workers.api.uploads.names import clean_name
from workers.api.uploads.ranges import ChunkRange, InvalidRangeError
from workers.files.threads import in_thread, opened

ID_HEADER = "X-Appwrite-ID"
"""In which all chunks but the first name the resource that they belong to."""

_WRITE_BYTES = 262_144
"""How much of a body is gathered before it is written: a thread is woken for that."""

_FORM_BYTES = MAX_FIELD_BYTES + 65_536
"""How much larger than its file a form may be: fields, and what stands between them."""

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Received:
    """What a request brought."""

    fields: Mapping[str, str | list[str]]
    """The other fields of the form; ``permissions[]`` and ``permissions[0]`` make a list ``permissions``."""
    file: BinaryIO
    """The bytes of this chunk, or of the whole file. Open until the block of :func:`receive_upload` ends."""
    file_name: str
    """The name that the client claims, without a path: see :func:`~workers.api.uploads.names.clean_name`."""
    content_type: str
    """The type that the client claims; may be empty, or anything."""
    range: ChunkRange
    """Which bytes of the file these are."""
    resource_id: str
    """What ``X-Appwrite-ID`` names: the resource that this chunk belongs to. Empty for the first chunk."""

    def validated(self, model: type[_Model]) -> _Model:
        """Return the fields as ``model`` has them.

        Raises:
            RequestValidationError: a field is missing or wrong; told to the client as for bodies in JSON.
        """
        try:
            return model.model_validate(self.fields)
        except ValidationError as error:
            raise RequestValidationError(
                [dict(detail) | {"loc": ("body", *detail["loc"])} for detail in error.errors()]
            ) from error


@contextlib.asynccontextmanager
async def receive_upload(request: Request, *, max_bytes: int, part: str = "file") -> AsyncIterator[Received]:
    """Read the form that ``request`` brings, with a file in it.

    Args:
        request: one that nobody has read from. Its path must be among :data:`~workers.api.uploads.paths.PATHS`.
        max_bytes: how large the whole file may be, of which this may be a chunk.
        part: what the file is called in the form.

    Raises:
        ApiError: 400 for a form, range or size that is wrong, 413 for a form that is far too large.
        OSError: the disk is full, for example.
    """
    announced = announced_range(request)
    limit = max_bytes if announced is None else announced.size_bytes
    if announced is not None and announced.total > max_bytes:
        raise refuse(Problem.FILE_SIZE, max_bytes=str(max_bytes))
    # Before any of it is written. A body need not say how large it is, so it is counted too.
    if _declared_bytes(request) > limit + _FORM_BYTES:
        _check_size(limit + 1, announced, max_bytes)
    resource_id = request.headers.get(ID_HEADER, "")
    if resource_id and announced is None:
        raise refuse(Problem.CONTENT_RANGE, reason="A chunk needs a Content-Range.")
    try:
        form = Form(request.headers.get("content-type", ""), part)
    except InvalidFormError as error:
        raise bad_request(str(error)) from error
    folder = services_of(request).settings.data_dir
    async with opened(partial(_open_nameless, folder), _close) as file:
        size_bytes, fields = await _spool(request, form, file, announced, max_bytes)
        if form.file_name is None or size_bytes == 0:
            raise refuse(Problem.FILE_EMPTY)
        yield Received(
            fields=fields,
            file=file,
            file_name=clean_name(form.file_name),
            content_type=form.file_type,
            range=announced or ChunkRange.whole(size_bytes),
            resource_id=resource_id,
        )


def announced_range(request: Request) -> ChunkRange | None:
    """Return which bytes of its file a request says that it brings; None when it says nothing, and brings all.

    Raises:
        ApiError: 400 ``storage_invalid_content_range``.
    """
    header = request.headers.get("content-range")
    if header is None:
        return None
    try:
        return ChunkRange.parse(header)
    except InvalidRangeError as error:
        raise refuse(Problem.CONTENT_RANGE, reason=str(error)) from error


def _declared_bytes(request: Request) -> int:
    header = request.headers.get("content-length", "")
    return int(header[:20]) if header.isascii() and header.isdigit() else 0


async def _spool(
    request: Request, form: Form, file: Any, announced: ChunkRange | None, max_bytes: int
) -> tuple[int, Mapping[str, str | list[str]]]:
    """Write the file of the form to ``file``; return its size, and the fields."""
    limit = max_bytes if announced is None else announced.size_bytes
    size_bytes = body_bytes = 0
    waiting = bytearray()
    try:
        async for piece in request.stream():
            body_bytes += len(piece)
            block = form.feed(piece)
            size_bytes += len(block)
            waiting += block
            if size_bytes > limit:
                break
            if body_bytes > limit + _FORM_BYTES:
                raise too_large(limit + _FORM_BYTES)
            if len(waiting) >= _WRITE_BYTES:
                await in_thread(_write, file, waiting)
                waiting = bytearray()
        fields = form.finish() if size_bytes <= limit else {}
    except InvalidFormError as error:
        raise bad_request(str(error)) from error
    _check_size(size_bytes, announced, max_bytes)
    await in_thread(_write, file, waiting)
    return size_bytes, fields


def _check_size(size_bytes: int, announced: ChunkRange | None, max_bytes: int) -> None:
    if announced is not None and size_bytes not in (0, announced.size_bytes):
        raise refuse(
            Problem.CONTENT_RANGE,
            reason=f"It announces {announced.size_bytes} bytes, which the chunk has not.",
        )
    if size_bytes > max_bytes:
        raise refuse(Problem.FILE_SIZE, max_bytes=str(max_bytes))


def _open_nameless(folder: Path) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=folder, buffering=0)


def _close(file: Any) -> None:
    file.close()


def _write(file: Any, data: bytearray) -> None:
    # Unbuffered, and a large write may be cut short by the system.
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]
