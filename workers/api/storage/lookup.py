"""Finding buckets and files for those who may know of them: what the routes of the service begin with."""

from dataclasses import dataclass

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request

from workers.api.access import Caller
from workers.api.params import is_resource_id
from workers.api.problems import Problem, refuse
from workers.api.services import services_of
from workers.api.storage.file_tokens import find_token, note_access
from workers.api.storage.opened import OpenBucket
from workers.models.people import Row
from workers.store.tables import buckets, files

__all__ = ["FileRow", "find_file", "open_bucket", "open_file", "require_bucket", "require_file"]


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file that a request may read."""

    bucket: Row
    """Its row of ``buckets``."""
    file: Row
    """Its row of ``files``: ``name``, ``mime_type``, ``size_bytes``, ``signature``, ``storage_key`` and so on."""


async def require_bucket(
    connection: AsyncConnection, project_id: str, bucket_id: str, *, lock: bool = False
) -> RowMapping:
    """Return the row of a bucket. With ``lock`` nobody else changes it, or what it counts, meanwhile.

    Raises:
        ApiError: 404 ``storage_bucket_not_found``.
    """
    if not is_resource_id(bucket_id):
        raise refuse(Problem.BUCKET_NOT_FOUND)
    statement = select(buckets).where(buckets.c.project_id == project_id, buckets.c.id == bucket_id)
    found = await connection.execute(statement.with_for_update() if lock else statement)
    row = found.mappings().one_or_none()
    if row is None:
        raise refuse(Problem.BUCKET_NOT_FOUND)
    return row


async def open_bucket(
    connection: AsyncConnection, caller: Caller, bucket_id: str, *, lock: bool = False
) -> OpenBucket:
    """Find a bucket for ``caller``, and lock it if asked to.

    Raises:
        ApiError: 404 ``storage_bucket_not_found``, also for one that is disabled if the caller is no server.
    """
    row = await require_bucket(connection, caller.project.id, bucket_id, lock=lock)
    if not row["enabled"] and not caller.is_privileged:
        raise refuse(Problem.BUCKET_NOT_FOUND)
    return OpenBucket(row, caller)


async def find_file(
    connection: AsyncConnection, bucket: OpenBucket, file_id: str, *, lock: bool = False
) -> RowMapping | None:
    """Return the row of a complete file, whoever may read it; None when there is none."""
    if not is_resource_id(file_id):
        return None
    statement = select(files).where(
        files.c.project_id == bucket.caller.project.id,
        files.c.bucket_seq == bucket.seq,
        files.c.id == file_id,
    )
    found = await connection.execute(statement.with_for_update() if lock else statement)
    return found.mappings().one_or_none()


async def require_file(
    connection: AsyncConnection, bucket: OpenBucket, file_id: str, *, lock: bool = False
) -> RowMapping:
    """Return the row of a complete file; what the caller may do to it is still to be asked.

    Raises:
        ApiError: 404 ``storage_file_not_found``.
    """
    row = await find_file(connection, bucket, file_id, lock=lock)
    if row is None:
        raise refuse(Problem.FILE_NOT_FOUND)
    return row


async def open_file(request: Request, caller: Caller, bucket_id: str, file_id: str) -> FileRow:
    """Return a file that ``caller`` may read, or that the request has a token for: its parameter ``token``.

    Raises:
        ApiError: 404 ``storage_bucket_not_found`` or ``storage_file_not_found``, the latter also if the caller may not
            read it; 401 ``token_expired``.
    """
    services = services_of(request)
    secret = request.query_params.get("token", "")
    token = None
    async with services.store.read() as connection:
        bucket = await open_bucket(connection, caller, bucket_id)
        row = await require_file(connection, bucket, file_id)
        if secret and not bucket.allows("read", row):
            token = await find_token(connection, services, row, secret)
        if token is None:
            bucket.require("read", row)
    if token is not None:
        await note_access(services, caller.project, token)
    return FileRow(bucket.row, row)
