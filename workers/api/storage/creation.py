"""The route that files are uploaded by, whole or in chunks."""

from typing import Any

from fastapi import APIRouter
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from workers.api.addresses import address_of
from workers.api.errors import ApiError
from workers.api.problems import Problem, refuse
from workers.api.responses import documented, respond
from workers.api.services import Services, services_of
from workers.api.storage import uploads
from workers.api.storage.callers import Uploader
from workers.api.storage.lookup import find_file, open_bucket
from workers.api.storage.opened import OpenBucket
from workers.api.storage.records import emit_file, insert_file
from workers.api.uploads.pending import Slot, Stored, drop_upload, find_upload, finish_upload, store_upload
from workers.api.uploads.receiving import Received, receive_upload
from workers.models.storage import File, file_model
from workers.store.store import Transaction

router = APIRouter(tags=["storage"])


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
        slot = uploads.slot_of(bucket, file_id, address=address_of(request))
        try:
            file = await _upload(services, bucket, slot, file_id, received, details)
        except ApiError as error:
            if error.type != Problem.UPLOAD_NOT_FOUND.value.type:
                raise
            file = await _made_meanwhile(services, bucket, slot, file_id, received, error)
    return respond(file, 201)


async def _upload(
    services: Services,
    bucket: OpenBucket,
    slot: Slot,
    file_id: str,
    received: Received,
    details: dict[str, Any],
) -> File:
    """Store what was received; return the file if it is then complete, or else how far it is."""
    stored = await store_upload(services, slot, received, details=details)
    if not stored.is_complete:
        return uploads.pending_model(bucket, file_id, stored)
    signature = await _sign(services, received, stored)
    return await _finish(services, bucket, file_id, stored, signature)


async def _made_meanwhile(
    services: Services, bucket: OpenBucket, slot: Slot, file_id: str, received: Received, error: ApiError
) -> File:
    """Return the file of an upload that was there and is not any more, if other requests have completed it.

    Raises:
        ApiError: 409, other requests make or made a file of this ID in its place; ``error``, nobody does.
    """
    if (made := await _made_before(services, bucket, file_id, received)) is not None:
        return made
    if received.range.is_whole:
        async with services.store.read() as connection:
            if await find_upload(connection, slot) is not None:
                raise refuse(Problem.FILE_EXISTS) from error
    raise error


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
    is_repeated = received.range.start > 0 and received.range.total == row["size_bytes"] and row["chunks"] > 1
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
            await insert_file(tx, bucket, row)
            return emit_file(tx, bucket, "create", row)
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
