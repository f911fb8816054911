"""Routes of file tokens: create, list, get, update, delete. What a token is: :mod:`workers.api.storage.file_tokens`."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from sqlalchemy import RowMapping, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import Caller, requires
from workers.api.errors import bad_request
from workers.api.listing import ListParams, list_params
from workers.api.params import Body, Time, is_resource_id
from workers.api.problems import Problem, refuse
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.api.storage.file_tokens import sign_token
from workers.api.storage.lookup import open_bucket, require_file
from workers.models.people import Row
from workers.models.storage import ResourceToken, ResourceTokenList, token_model
from workers.store.fields import Field
from workers.store.ids import new_id
from workers.store.pages import fetch_page
from workers.store.store import Transaction
from workers.store.tables import file_tokens

router = APIRouter(tags=["tokens"])

FIELDS = {
    "$id": Field(file_tokens.c.id, "id"),
    "$createdAt": Field(file_tokens.c.created_at, "datetime"),
    "expire": Field(file_tokens.c.expires_at, "datetime"),
    "accessedAt": Field(file_tokens.c.accessed_at, "datetime"),
}
"""What tokens are listed by."""

Reader = Annotated[Caller, Depends(requires("tokens.read"))]
Writer = Annotated[Caller, Depends(requires("tokens.write"))]


class TokenExpiry(Body):
    """Until when a token opens its file; null for ever."""

    expire: Time | None = None


@router.post(
    "/v1/tokens/buckets/{bucketId}/files/{fileId}",
    response_model=None,
    responses=documented(ResourceToken, 201),
    operation_id="tokensCreateFileToken",
)
async def create_token(
    request: Request, bucketId: str, fileId: str, caller: Writer, body: TokenExpiry | None = None
) -> Response:
    """Create a token that opens a file. Whoever has its secret may see the file, whatever the permissions."""
    async with services_of(request).store.write(caller.project) as tx:
        # Locked, so that the token is not left behind by a file that is being deleted.
        bucket = await open_bucket(tx.connection, caller, bucketId, lock=True)
        file = await require_file(tx.connection, bucket, fileId)
        bucket.require("update", file)
        row = {
            "project_id": caller.project.id,
            "id": new_id(),
            "file_seq": file["seq"],
            "bucket_id": bucket.id,
            "file_id": file["id"],
            "expires_at": _checked(tx, body or TokenExpiry()),
            "accessed_at": None,
            "created_at": tx.now_text,
            "updated_at": tx.now_text,
        }
        await tx.connection.execute(insert(file_tokens), row)
    return respond(_model(request, row), 201)


@router.get(
    "/v1/tokens/buckets/{bucketId}/files/{fileId}",
    response_model=None,
    responses=documented(ResourceTokenList),
    operation_id="tokensList",
)
async def list_tokens(
    request: Request,
    bucketId: str,
    fileId: str,
    caller: Reader,
    params: Annotated[ListParams, Depends(list_params)],
) -> Response:
    """List the tokens of a file, also those that have expired."""
    query = params.query(FIELDS)
    async with services_of(request).store.read() as connection:
        bucket = await open_bucket(connection, caller, bucketId)
        file = await require_file(connection, bucket, fileId)
        bucket.require("update", file)
        where = [
            file_tokens.c.project_id == caller.project.id,
            file_tokens.c.file_seq == file["seq"],
        ]
        page = await fetch_page(connection, file_tokens, FIELDS, query, where=where, count=params.total)
    return respond({"total": page.total, "tokens": [_model(request, row) for row in page.rows]})


@router.get(
    "/v1/tokens/{tokenId}",
    response_model=None,
    responses=documented(ResourceToken),
    operation_id="tokensGet",
)
async def get_token(request: Request, tokenId: str, caller: Reader) -> Response:
    """Return a token."""
    async with services_of(request).store.read() as connection:
        return respond(_model(request, await _require(connection, caller, tokenId)))


@router.patch(
    "/v1/tokens/{tokenId}",
    response_model=None,
    responses=documented(ResourceToken),
    operation_id="tokensUpdate",
)
async def update_token(
    request: Request, tokenId: str, caller: Writer, body: TokenExpiry | None = None
) -> Response:
    """Say anew until when a token opens its file. This holds for secrets that were given away before, too."""
    async with services_of(request).store.write(caller.project) as tx:
        row = await _require(tx.connection, caller, tokenId, lock=True)
        changes: dict[str, Any] = {
            "expires_at": _checked(tx, body or TokenExpiry()),
            "updated_at": tx.now_text,
        }
        await tx.connection.execute(
            update(file_tokens).where(file_tokens.c.seq == row["seq"]).values(changes)
        )
    return respond(_model(request, dict(row) | changes))


@router.delete(
    "/v1/tokens/{tokenId}",
    response_model=None,
    status_code=204,
    responses=documented(None),
    operation_id="tokensDelete",
)
async def delete_token(request: Request, tokenId: str, caller: Writer) -> Response:
    """Delete a token. Its secrets open nothing any more."""
    async with services_of(request).store.write(caller.project) as tx:
        row = await _require(tx.connection, caller, tokenId, lock=True)
        await tx.connection.execute(delete(file_tokens).where(file_tokens.c.seq == row["seq"]))
    return respond(None)


async def _require(
    connection: AsyncConnection, caller: Caller, token_id: str, *, lock: bool = False
) -> RowMapping:
    """Return the row of a token.

    Raises:
        ApiError: 404 ``token_not_found``.
    """
    if not is_resource_id(token_id):
        raise refuse(Problem.TOKEN_NOT_FOUND)
    statement = select(file_tokens).where(
        file_tokens.c.project_id == caller.project.id, file_tokens.c.id == token_id
    )
    found = await connection.execute(statement.with_for_update() if lock else statement)
    row = found.mappings().one_or_none()
    if row is None:
        raise refuse(Problem.TOKEN_NOT_FOUND)
    return row


def _checked(tx: Transaction, body: TokenExpiry) -> str | None:
    if body.expire is not None and body.expire <= tx.now_text:
        raise bad_request("Invalid `expire` param: Value must be in the future")
    return body.expire


def _model(request: Request, row: Row) -> ResourceToken:
    return token_model(row, sign_token(services_of(request).sealer, row))
