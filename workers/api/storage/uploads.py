"""Files on their way into a bucket: what is taken, and what is shown of one that is not complete.

Until its last chunk is stored a file is no row of ``files`` but an upload, and only whoever began it sees that it is
there, and servers, which can remove it and upload another in its place. The rest is that of all uploads:
:mod:`workers.api.uploads`.
"""

import hashlib
from typing import Annotated, Any, BinaryIO

from pydantic import BeforeValidator
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.identity.model import Project
from workers.api.access import Caller
from workers.api.granting import grant
from workers.api.params import Body, CustomId, is_resource_id
from workers.api.problems import Problem, refuse
from workers.api.storage.opened import OpenBucket
from workers.api.uploads.pending import Kind, Slot, Stored, find_upload
from workers.api.uploads.receiving import Received
from workers.files.store import BLOCK_BYTES, FileStore
from workers.files.threads import in_thread
from workers.files.types import HEAD_BYTES, media_type_of
from workers.models.storage import File, file_model
from workers.store.ids import choose_id

KIND: Kind = "file"
"""What uploads of files are called among all uploads."""

_KEYS = ":keys"
"""Who began an upload, if it was an API key; no user can be called so. One key may go on with what another began."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class NewFile(Body):
    """What the form says of a file, beside the file."""

    fileId: CustomId
    permissions: Annotated[list[str] | None, BeforeValidator(_as_list)] = None


FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["fileId", "file"],
                    "properties": {
                        "fileId": {"type": "string", "description": "An ID, or `unique()`."},
                        "file": {"type": "string", "format": "binary"},
                        "permissions": {
                            "type": "array",
                            "items": {"type": "string"},
                            "description": 'Such as `read("any")`; without them, all for whoever uploads.',
                        },
                    },
                }
            }
        },
    }
}
"""What the OpenAPI document says of the form."""


def upload_id(bucket_seq: int, file_id: str) -> str:
    """Return what uploads call a file: by the number of its bucket, as the bucket's ID may be given again."""
    return f"{bucket_seq}/{file_id}"


def slot_of(bucket: OpenBucket, file_id: str, *, address: str = "") -> Slot:
    """Return what the caller of ``bucket``, who calls from ``address``, uploads a file of this ID to."""
    project: Project = bucket.caller.project
    caller = bucket.caller
    return Slot(
        project,
        KIND,
        upload_id(bucket.seq, file_id),
        _owner(caller),
        counted_for="" if caller.is_privileged else caller.user_id or address,
        takes_over=caller.is_privileged,
    )


def _owner(caller: Caller) -> str:
    return _KEYS if caller.is_privileged else caller.user_id


def choose_file_id(received: Received, body: NewFile) -> str:
    """Return which file a request is about: chunks after the first one name it in a header.

    Raises:
        ApiError: 400 ``storage_invalid_appwrite_id``, the header has no ID.
    """
    if not received.resource_id:
        return choose_id(body.fileId)
    if not is_resource_id(received.resource_id):
        raise refuse(Problem.UPLOAD_NOT_FOUND)
    return received.resource_id


def check_extension(bucket: OpenBucket, name: str) -> None:
    """Refuse a file by its name.

    Raises:
        ApiError: 400 ``storage_file_type_unsupported``, the bucket takes files of other extensions only.
    """
    extensions: list[str] = bucket.row["extensions"]
    if extensions and not name.lower().endswith(tuple(f".{extension}" for extension in extensions)):
        raise refuse(Problem.FILE_EXTENSION, extensions=", ".join(extensions))


async def describe(bucket: OpenBucket, received: Received, body: NewFile) -> dict[str, Any]:
    """Return what an upload keeps of the file until it is complete.

    Raises:
        ApiError: 401 ``user_unauthorized``, the caller gives permissions to roles that they do not hold.
        InvalidPermissionError: the permissions are malformed.
    """
    head = await in_thread(_head, received.file)
    return {
        "name": received.file_name,
        "permissions": grant(bucket.caller, body.permissions),
        "mime_type": media_type_of(head, received.file_name),
    }


def _head(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(HEAD_BYTES)


def row_of(stored: Stored, file_id: str, *, signature: str, now: str) -> dict[str, Any]:
    """Return the columns of ``files`` that an upload makes; all but those that say where the file belongs."""
    return {
        "id": file_id,
        "name": stored.details["name"],
        "permissions": stored.details["permissions"],
        "signature": signature,
        "mime_type": stored.details["mime_type"],
        "size_bytes": stored.total_bytes,
        "chunks": stored.chunks_total,
        "storage_key": stored.key,
        "created_at": now,
        "updated_at": now,
    }


def pending_model(bucket: OpenBucket, file_id: str, stored: Stored) -> File:
    """Return what a chunk of a file is answered with before the file is complete: how many chunks are there."""
    return _incomplete(bucket, file_id, stored, stored.chunks_uploaded)


def resumable_model(bucket: OpenBucket, file_id: str, stored: Stored) -> File:
    """Return what whoever asks for an upload is shown: as many chunks as there are before the first that is missing.

    There they go on: chunks that were sent at once leave gaps when they are interrupted.
    """
    return _incomplete(bucket, file_id, stored, stored.chunks_in_order)


def _incomplete(bucket: OpenBucket, file_id: str, stored: Stored, chunks_uploaded: int) -> File:
    row = row_of(stored, file_id, signature="", now=stored.created_at)
    # The last chunk counts when the file can be read: SDKs take a file with all of its chunks for done.
    return file_model(row, bucket.id, chunks_uploaded=min(chunks_uploaded, stored.chunks_total - 1))


async def find_pending(connection: AsyncConnection, bucket: OpenBucket, file_id: str) -> Stored | None:
    """Return how far the caller's own upload of a file is, and for a server anybody's; None when there is none."""
    if not is_resource_id(file_id):
        return None
    slot = slot_of(bucket, file_id)
    stored = await find_upload(connection, slot)
    if stored is None or (stored.owner_id != slot.owner_id and not bucket.caller.is_privileged):
        return None
    return stored


async def sign(files: FileStore, stored: Stored) -> str:
    """Return the MD5 of stored bytes in hexadecimal; reads all of them, a block at a time."""
    digest = hashlib.md5(usedforsecurity=False)
    async for block in files.read(stored.key, 0, stored.total_bytes):
        digest.update(block)
    return digest.hexdigest()


async def sign_received(received: Received) -> str:
    """Return the MD5 of a file that came in one piece, in hexadecimal."""
    return await in_thread(_sign, received.file)


def _sign(file: BinaryIO) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    file.seek(0)
    while block := file.read(BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()
