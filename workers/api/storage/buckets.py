"""Routes of buckets: create, list, get, update, delete. They are for servers."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from sqlalchemy import delete, insert, literal, update
from sqlalchemy.exc import IntegrityError
from starlette.requests import Request
from starlette.responses import Response

from realtime.events.event import Event
from workers.api.access import Caller, requires
from workers.api.errors import bad_request
from workers.api.listing import ListParams, list_params
from workers.api.problems import Problem, refuse
from workers.api.responses import documented, respond
from workers.api.services import Services, services_of
from workers.api.storage.bucket_bodies import BucketChange, NewBucket
from workers.api.storage.deletion import delete_files, discard_uploads
from workers.api.storage.lookup import require_bucket
from workers.models.people import Row
from workers.models.storage import Bucket, BucketList, bucket_model
from workers.store.conditions import contains_text
from workers.store.fields import Field
from workers.store.ids import choose_id
from workers.store.pages import fetch_page
from workers.store.store import Transaction
from workers.store.tables import buckets

router = APIRouter(tags=["storage"])

FIELDS = {
    "$id": Field(buckets.c.id, "id"),
    "$createdAt": Field(buckets.c.created_at, "datetime"),
    "$updatedAt": Field(buckets.c.updated_at, "datetime"),
    "name": Field(buckets.c.name, "string"),
    "enabled": Field(buckets.c.enabled, "boolean"),
    "fileSecurity": Field(buckets.c.file_security, "boolean"),
    "maximumFileSize": Field(buckets.c.max_file_bytes, "integer"),
    "transformations": Field(buckets.c.transformations, "boolean"),
    "totalSize": Field(buckets.c.total_bytes, "integer"),
    # The same for every bucket, since there is no such thing here; SDKs may ask for them nevertheless.
    "encryption": Field(literal(False), "boolean"),
    "antivirus": Field(literal(False), "boolean"),
}
"""What buckets are listed by."""

Reader = Annotated[Caller, Depends(requires("buckets.read"))]
Writer = Annotated[Caller, Depends(requires("buckets.write"))]

FILES_AT_ONCE = 5_000
"""How many files are deleted in one transaction; others wait for it."""


@router.post(
    "/v1/storage/buckets",
    response_model=None,
    responses=documented(Bucket, 201),
    operation_id="storageCreateBucket",
)
async def create_bucket(request: Request, body: NewBucket, caller: Writer) -> Response:
    """Create a bucket. Without permissions, only servers use it."""
    services = services_of(request)
    async with services.store.write(caller.project) as tx:
        row = {
            "project_id": caller.project.id,
            "id": choose_id(body.bucketId),
            "enabled": True,
            "file_security": False,
            "permissions": [],
            "max_file_bytes": services.settings.files_max_bytes,
            "extensions": [],
            "transformations": True,
            "total_bytes": 0,
            "created_at": tx.now_text,
            "updated_at": tx.now_text,
        } | _changes(body, services)
        try:
            await tx.connection.execute(insert(buckets), row)
        except IntegrityError as error:
            raise refuse(Problem.BUCKET_EXISTS) from error
        _emit(tx, "create", row)
    return respond(bucket_model(row), 201)


@router.get(
    "/v1/storage/buckets",
    response_model=None,
    responses=documented(BucketList),
    operation_id="storageListBuckets",
)
async def list_buckets(
    request: Request, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List the buckets of the project."""
    query = params.query(FIELDS)
    where = [buckets.c.project_id == caller.project.id]
    if params.search:
        where.append(contains_text([buckets.c.id, buckets.c.name], params.search))
    async with services_of(request).store.read() as connection:
        page = await fetch_page(connection, buckets, FIELDS, query, where=where, count=params.total)
    return respond({"total": page.total, "buckets": [bucket_model(row) for row in page.rows]})


@router.get(
    "/v1/storage/buckets/{bucketId}",
    response_model=None,
    responses=documented(Bucket),
    operation_id="storageGetBucket",
)
async def get_bucket(request: Request, bucketId: str, caller: Reader) -> Response:
    """Return a bucket."""
    async with services_of(request).store.read() as connection:
        return respond(bucket_model(await require_bucket(connection, caller.project.id, bucketId)))


@router.put(
    "/v1/storage/buckets/{bucketId}",
    response_model=None,
    responses=documented(Bucket),
    operation_id="storageUpdateBucket",
)
async def update_bucket(request: Request, bucketId: str, body: BucketChange, caller: Writer) -> Response:
    """Change a bucket. Files that it would not take any more stay."""
    services = services_of(request)
    async with services.store.write(caller.project) as tx:
        row = await require_bucket(tx.connection, caller.project.id, bucketId, lock=True)
        changes = _changes(body, services) | {"updated_at": tx.now_text}
        await tx.connection.execute(update(buckets).where(buckets.c.seq == row["seq"]).values(changes))
        changed = dict(row) | changes
        _emit(tx, "update", changed)
    return respond(bucket_model(changed))


@router.delete(
    "/v1/storage/buckets/{bucketId}",
    response_model=None,
    status_code=204,
    responses=documented(None),
    operation_id="storageDeleteBucket",
)
async def delete_bucket(request: Request, bucketId: str, caller: Writer) -> Response:
    """Delete a bucket with its files.

    Many files are deleted one batch after another, the bucket with the last one: if the request breaks off before, the
    bucket is still there, with fewer files, and can be deleted again.
    """
    services = services_of(request)
    seq: int | None = None
    while True:
        async with services.store.write(caller.project) as tx:
            row = await require_bucket(tx.connection, caller.project.id, bucketId, lock=True)
            if seq is not None and row["seq"] != seq:
                # Somebody else has deleted it meanwhile, and made another one.
                raise refuse(Problem.BUCKET_NOT_FOUND)
            seq = row["seq"]
            if await delete_files(tx, row, limit=FILES_AT_ONCE) == FILES_AT_ONCE:
                continue
            await discard_uploads(tx, row)
            await tx.connection.execute(delete(buckets).where(buckets.c.seq == seq))
            _emit(tx, "delete", row)
        return respond(None)


def _changes(body: BucketChange, services: Services) -> dict[str, Any]:
    """Return the columns that a body says something about.

    Raises:
        ApiError: 400, the files would be larger than the server takes.
    """
    largest = services.settings.files_max_bytes
    if body.maximumFileSize is not None and body.maximumFileSize > largest:
        raise bad_request(
            f"Invalid `maximumFileSize` param: Value must be a valid range between 1 and {largest:,}"
        )
    columns = {
        "name": body.name,
        "permissions": body.permissions,
        "file_security": body.fileSecurity,
        "enabled": body.enabled,
        "max_file_bytes": body.maximumFileSize,
        "extensions": body.allowedFileExtensions,
        "transformations": body.transformations,
    }
    return {name: value for name, value in columns.items() if value is not None}


def _emit(tx: Transaction, action: str, row: Row) -> None:
    tx.emit(Event(f"buckets.[bucketId].{action}", bucket_model(row), params={"bucketId": row["id"]}))
