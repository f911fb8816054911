"""Routes of files that are there: list, get, update, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field as BodyField
from sqlalchemy import update
from starlette.requests import Request
from starlette.responses import Response

from workers.api.granting import grant
from workers.api.listing import ListParams, list_params
from workers.api.params import Body
from workers.api.problems import Problem, refuse
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.api.storage import uploads
from workers.api.storage.callers import Reader, Writer
from workers.api.storage.deletion import delete_file as delete_row
from workers.api.storage.lookup import find_file, open_bucket, require_file
from workers.api.storage.opened import OpenBucket
from workers.api.storage.records import emit_file, replace_permissions
from workers.api.uploads.names import MAX_NAME_CHARS, clean_name
from workers.api.uploads.pending import drop_upload
from workers.models.storage import File, FileList, file_model
from workers.store.conditions import contains_text
from workers.store.fields import Field
from workers.store.pages import fetch_page
from workers.store.store import Transaction
from workers.store.tables import files

router = APIRouter(tags=["storage"])

FIELDS = {
    "$id": Field(files.c.id, "id"),
    "$createdAt": Field(files.c.created_at, "datetime"),
    "$updatedAt": Field(files.c.updated_at, "datetime"),
    "name": Field(files.c.name, "string"),
    "signature": Field(files.c.signature, "string"),
    "mimeType": Field(files.c.mime_type, "string"),
    "sizeOriginal": Field(files.c.size_bytes, "integer"),
    # Of complete files, and those are what is listed, both are the same.
    "chunksTotal": Field(files.c.chunks, "integer"),
    "chunksUploaded": Field(files.c.chunks, "integer"),
}
"""What files are listed by."""


_HIDDEN = {"name": "", "permissions": [], "signature": "", "mime_type": "", "size_bytes": 0, "chunks": 0}
"""What whoever may change a file, and not read it, is answered of what they did not send."""


class FileChange(Body):
    """What a file is to be called, and who may do what to it. What is left out, or null, stays as it is."""

    name: Annotated[str, BodyField(min_length=1, max_length=MAX_NAME_CHARS)] | None = None
    permissions: list[str] | None = None


@router.get(
    "/v1/storage/buckets/{bucketId}/files",
    response_model=None,
    responses=documented(FileList),
    operation_id="storageListFiles",
)
async def list_files(
    request: Request, bucketId: str, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List the complete files of a bucket that the caller may read."""
    query = params.query(FIELDS)
    async with services_of(request).store.read() as connection:
        bucket = await open_bucket(connection, caller, bucketId)
        where = bucket.readable()
        if params.search:
            where.append(contains_text([files.c.id, files.c.name], params.search))
        page = await fetch_page(connection, files, FIELDS, query, where=where, count=params.total)
    return respond({"total": page.total, "files": [file_model(row, bucket.id) for row in page.rows]})


@router.get(
    "/v1/storage/buckets/{bucketId}/files/{fileId}",
    response_model=None,
    responses=documented(File),
    operation_id="storageGetFile",
)
async def get_file(request: Request, bucketId: str, fileId: str, caller: Reader) -> Response:
    """Return a file; to whoever uploads one, and to servers, also how far that is."""
    async with services_of(request).store.read() as connection:
        bucket = await open_bucket(connection, caller, bucketId)
        row = await find_file(connection, bucket, fileId)
        if row is not None:
            bucket.require("read", row)
            return respond(file_model(row, bucket.id))
        stored = await uploads.find_pending(connection, bucket, fileId)
    if stored is None:
        raise refuse(Problem.FILE_NOT_FOUND)
    return respond(uploads.resumable_model(bucket, fileId, stored))


@router.put(
    "/v1/storage/buckets/{bucketId}/files/{fileId}",
    response_model=None,
    responses=documented(File),
    operation_id="storageUpdateFile",
)
async def update_file(
    request: Request, bucketId: str, fileId: str, body: FileChange, caller: Writer
) -> Response:
    """Rename a file, or say anew who may do what to it."""
    async with services_of(request).store.write(caller.project) as tx:
        bucket = await open_bucket(tx.connection, caller, bucketId)
        row = await require_file(tx.connection, bucket, fileId, lock=True)
        bucket.require("update", row)
        changes: dict[str, Any] = {"updated_at": tx.now_text}
        if body.name is not None:
            changes["name"] = clean_name(body.name)
            uploads.check_extension(bucket, changes["name"])
        if body.permissions is not None:
            changes["permissions"] = grant(caller, body.permissions)
            await replace_permissions(tx, bucket, row["seq"], changes["permissions"])
        await tx.connection.execute(update(files).where(files.c.seq == row["seq"]).values(changes))
        changed = dict(row) | changes
        emit_file(tx, bucket, "update", changed)
    if not bucket.allows("read", changed):
        changed |= _HIDDEN | changes
    return respond(file_model(changed, bucket.id))


@router.delete(
    "/v1/storage/buckets/{bucketId}/files/{fileId}",
    response_model=None,
    status_code=204,
    responses=documented(None),
    operation_id="storageDeleteFile",
)
async def delete_file(request: Request, bucketId: str, fileId: str, caller: Writer) -> Response:
    """Delete a file; of one that is still being uploaded, the upload, by whoever began it or by a server."""
    async with services_of(request).store.write(caller.project) as tx:
        bucket = await open_bucket(tx.connection, caller, bucketId, lock=True)
        row = await find_file(tx.connection, bucket, fileId, lock=True)
        if row is None:
            await _cancel(tx, bucket, fileId)
        else:
            bucket.require("delete", row)
            await delete_row(tx, bucket.row, row)
            emit_file(tx, bucket, "delete", row)
    return respond(None)


async def _cancel(tx: Transaction, bucket: OpenBucket, file_id: str) -> None:
    if await uploads.find_pending(tx.connection, bucket, file_id) is None:
        raise refuse(Problem.FILE_NOT_FOUND)
    await drop_upload(tx, uploads.slot_of(bucket, file_id))
