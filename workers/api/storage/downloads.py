"""Routes that send the bytes of a file: to be saved, or to be shown, as an ``<img>`` or ``<video>`` does it.

A page cannot set headers there, so the project may stand in the URL, the session comes as a cookie, and a token of the
file (:mod:`workers.api.storage.file_tokens`) opens it without one. ``HEAD`` is for what asks for the size first,
such as players and programs that download in several parts.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from workers.api.downloads import Disposition, Download, file_response
from workers.api.services import services_of
from workers.api.storage.callers import Reader
from workers.api.storage.lookup import open_file

router = APIRouter(tags=["storage"])

Token = Annotated[str | None, Query(alias="token", description="A file's token, in place of permissions.")]
"""The parameter that :func:`~workers.api.storage.lookup.open_file` reads itself."""

_BYTES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file", "content": {"application/octet-stream": {}}},
    206: {"description": "A range of the file", "content": {"application/octet-stream": {}}},
}


@router.head(
    "/v1/storage/buckets/{bucketId}/files/{fileId}/download", response_model=None, include_in_schema=False
)
@router.get(
    "/v1/storage/buckets/{bucketId}/files/{fileId}/download",
    response_model=None,
    responses=_BYTES,
    operation_id="storageGetFileDownload",
)
async def download_file(
    request: Request, bucketId: str, fileId: str, caller: Reader, _token: Token = None
) -> Response:
    """Send a file to be saved; all of it, or the ``Range`` asked for."""
    return await _send(request, caller, bucketId, fileId, "attachment")


@router.head(
    "/v1/storage/buckets/{bucketId}/files/{fileId}/view", response_model=None, include_in_schema=False
)
@router.get(
    "/v1/storage/buckets/{bucketId}/files/{fileId}/view",
    response_model=None,
    responses=_BYTES,
    operation_id="storageGetFileView",
)
async def view_file(
    request: Request, bucketId: str, fileId: str, caller: Reader, _token: Token = None
) -> Response:
    """Send a file to be shown. Types that could run scripts are shown as plain text."""
    return await _send(request, caller, bucketId, fileId, "inline")


async def _send(
    request: Request, caller: Reader, bucket_id: str, file_id: str, disposition: Disposition
) -> Response:
    file = (await open_file(request, caller, bucket_id, file_id)).file
    download = Download(
        key=file["storage_key"],
        size_bytes=file["size_bytes"],
        name=file["name"],
        content_type=file["mime_type"],
        etag=file["signature"],
        changed_at=file["created_at"],
    )
    return await file_response(request, services_of(request).files, download, disposition=disposition)
