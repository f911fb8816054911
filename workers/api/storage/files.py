"""Routes of files: upload, list, get, update, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field as BodyField
from sqlalchemy import delete, insert, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from realtime.events.event import Event
from workers.api.granting import grant
from workers.api.listing import ListParams, list_params
from workers.api.params import Body
from workers.api.permissions import pairs
from workers.api.problems import Problem, refuse
from workers.api.responses import documented, respond
from workers.api.services import Services, services_of
from workers.api.storage import uploads
from workers.api.storage.callers import Reader, Uploader, Writer
from workers.api.storage.deletion import delete_file as delete_row
from workers.api.storage.lookup import find_file, open_bucket, require_file
from workers.api.storage.opened import OpenBucket
from workers.api.uploads.names import MAX_NAME_CHARS, clean_name
from workers.api.uploads.pending import Stored, drop_upload, finish_upload, store_upload
from workers.api.uploads.receiving import Received, receive_upload
from workers.models.people import Row
from workers.models.storage import File, FileList, file_model
from workers.store.conditions import contains_text
from workers.store.fields import Field
from workers.store.pages import fetch_page
from workers.store.store import Transaction
from workers.store.tables import buckets, file_permissions, files

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


@router.post(
    "/v1/storage/buckets/{bucketId}/files",
    response_model=None,
    responses=documented(File, 201),
    operation_id="storageCreateFile",
    openapi_extra=uploads.FORM,
)
async def create_file(request: Request, bucketId: str, caller: Uploader) -> Response:
    """Upload a file whole, or one chunk of it.

    The body is a form: ``file``, ``fileId`` and ``permissions[]``. Chunks have a ``Content-Range``, and after the first
    one, which is answered with the ID, they name the file in ``X-Appwrite-ID``. They may then come in any order and at
    once, and again.
    """
    services = services_of(request)
    async with services.store.read() as connection:
        bucket = await open_bucket(connection, caller, bucketId)
    # Before the body is read: whoever may not upload is not listened to.
    bucket.require("create")
    max_bytes = min(bucket.row["max_file_bytes"], services.settings.files_max_bytes)
    async with receive_upload(request, max_bytes=max_bytes) as received:
        body = received.validated(uploads.NewFile)
        file_id = uploads.choose_file_id(received, body)
        uploads.check_extension(bucket, received.file_name)
        details = await uploads.describe(bucket, received, body)
        if (made := await _made_before(services, bucket, file_id, received)) is not None:
            return respond(made, 201)
        stored = await store_upload(services, uploads.slot_of(bucket, file_id), received, details=details)
        if not stored.is_complete:
            return respond(uploads.pending_model(bucket, file_id, stored), 201)
        signature = await _sign(services, received, stored)
    return respond(await _finish(services, bucket, file_id, stored, signature), 201)


async def _made_before(
    services: Services, bucket: OpenBucket, file_id: str, received: Received
) -> File | None:
    """Return the file that a chunk belongs to, if it is sent once more since the answer to the last one was lost.

    Raises:
        ApiError: 409, there is a file of this ID, and the request is no such chunk of it.
    """
    async with services.store.read() as connection:
        row = await find_file(connection, bucket, file_id)
    if row is None:
        return None
    is_repeated = received.range.start > 0 and received.range.total == row["size_bytes"]
    if is_repeated and bucket.allows("read", row):
        return file_model(row, bucket.id)
    raise refuse(Problem.FILE_EXISTS)


async def _sign(services: Services, received: Received, stored: Stored) -> str:
    if received.range.is_whole:
        return await uploads.sign_received(received)
    return await uploads.sign(services.files, stored)


async def _finish(
    services: Services, bucket: OpenBucket, file_id: str, stored: Stored, signature: str
) -> File:
    """Make the file of an upload whose bytes are all there, and return its model.

    Raises:
        ApiError: 404, the bucket was deleted meanwhile; 400, the upload was; 409, there is such a file by now.
    """
    try:
        async with services.store.write(bucket.caller.project) as tx:
            bucket = await _lock(tx, bucket)
            if not await finish_upload(tx, stored):
                return await _made_already(tx.connection, bucket, file_id, stored)
            row = uploads.row_of(stored, file_id, signature=signature, now=tx.now_text)
            await _insert(tx, bucket, row)
            return _emit(tx, bucket, "create", row)
    except IntegrityError as error:
        async with services.store.write(bucket.caller.project) as tx:
            await drop_upload(tx, uploads.slot_of(bucket, file_id))
        raise refuse(Problem.FILE_EXISTS) from error


async def _lock(tx: Transaction, bucket: OpenBucket) -> OpenBucket:
    """Return the bucket as it is now, locked.

    Whoever makes or deletes files locks their bucket before anything else, so that none wait for each other.

    Raises:
        ApiError: 404, it is gone or disabled, also if there is another one of its ID.
    """
    locked = await open_bucket(tx.connection, bucket.caller, bucket.id, lock=True)
    if locked.seq != bucket.seq:
        raise refuse(Problem.BUCKET_NOT_FOUND)
    return locked


async def _made_already(
    connection: AsyncConnection, bucket: OpenBucket, file_id: str, stored: Stored
) -> File:
    """Return the file that another request has made of the same upload."""
    row = await find_file(connection, bucket, file_id)
    if row is None or row["storage_key"] != stored.key:
        raise refuse(Problem.UPLOAD_NOT_FOUND)
    return file_model(row, bucket.id)


async def _insert(tx: Transaction, bucket: OpenBucket, row: dict[str, Any]) -> None:
    inserted = await tx.connection.execute(
        insert(files).values(project_id=tx.project.id, bucket_seq=bucket.seq, **row).returning(files.c.seq)
    )
    await _insert_permissions(tx, bucket, inserted.scalar_one(), row["permissions"])
    await tx.connection.execute(
        update(buckets)
        .where(buckets.c.seq == bucket.seq)
        .values(total_bytes=buckets.c.total_bytes + row["size_bytes"])
    )


async def _insert_permissions(
    tx: Transaction, bucket: OpenBucket, file_seq: int, permissions: list[str]
) -> None:
    """Insert the permissions of a file, which has none there yet."""
    records = [
        {
            "project_id": tx.project.id,
            "bucket_seq": bucket.seq,
            "file_seq": file_seq,
            "action": action,
            "role": role,
        }
        for action, role in pairs(permissions)
    ]
    if records:
        await tx.connection.execute(insert(file_permissions), records)


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
    """Return a file; to whoever uploads one also how far that is."""
    async with services_of(request).store.read() as connection:
        bucket = await open_bucket(connection, caller, bucketId)
        row = await find_file(connection, bucket, fileId)
        if row is not None:
            bucket.require("read", row)
            return respond(file_model(row, bucket.id))
        stored = await uploads.find_pending(connection, bucket, fileId)
    if stored is None:
        raise refuse(Problem.FILE_NOT_FOUND)
    return respond(uploads.pending_model(bucket, fileId, stored))


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
            await tx.connection.execute(
                delete(file_permissions).where(
                    file_permissions.c.project_id == tx.project.id,
                    file_permissions.c.file_seq == row["seq"],
                )
            )
            await _insert_permissions(tx, bucket, row["seq"], changes["permissions"])
        await tx.connection.execute(update(files).where(files.c.seq == row["seq"]).values(changes))
        changed = dict(row) | changes
        _emit(tx, bucket, "update", changed)
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
    """Delete a file; of one that is still being uploaded, the upload, by whoever began it."""
    async with services_of(request).store.write(caller.project) as tx:
        bucket = await open_bucket(tx.connection, caller, bucketId, lock=True)
        row = await find_file(tx.connection, bucket, fileId, lock=True)
        if row is None:
            await _cancel(tx, bucket, fileId)
        else:
            bucket.require("delete", row)
            await delete_row(tx, bucket.row, row)
            _emit(tx, bucket, "delete", row)
    return respond(None)


async def _cancel(tx: Transaction, bucket: OpenBucket, file_id: str) -> None:
    if await uploads.find_pending(tx.connection, bucket, file_id) is None:
        raise refuse(Problem.FILE_NOT_FOUND)
    await drop_upload(tx, uploads.slot_of(bucket, file_id))


def _emit(tx: Transaction, bucket: OpenBucket, action: str, row: Row) -> File:
    """Record the event that ``action`` happened to a file, and return its model."""
    model = file_model(row, bucket.id)
    tx.emit(
        Event(
            f"buckets.[bucketId].files.[fileId].{action}",
            model,
            params={"bucketId": bucket.id, "fileId": row["id"]},
            permissions=bucket.event_permissions(row),
        )
    )
    return model
