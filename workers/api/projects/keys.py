"""Routes of a project's API keys."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import AfterValidator
from pydantic import Field as BodyField
from sqlalchemy.exc import IntegrityError
from starlette.requests import Request
from starlette.responses import Response

from workers.api import errors
from workers.api.access import Caller, requires
from workers.api.listing import ListParams, list_params
from workers.api.params import Body, CustomId, Name, Time
from workers.api.problems import Problem, refuse
from workers.api.projects.access import require_row
from workers.api.projects.scopes import ALL, SCOPES
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.models.projects import Key, KeyList, key_model
from workers.store import projects as store
from workers.store.fields import Field
from workers.store.ids import choose_id
from workers.store.pages import fetch_page
from workers.store.store import Transaction
from workers.store.tables import keys

router = APIRouter(tags=["project"])

FIELDS = {
    "$id": Field(keys.c.id, "id"),
    "$createdAt": Field(keys.c.created_at, "datetime"),
    "$updatedAt": Field(keys.c.updated_at, "datetime"),
    "name": Field(keys.c.name, "string"),
    "expire": Field(keys.c.expires_at, "datetime"),
    "accessedAt": Field(keys.c.accessed_at, "datetime"),
    "scopes": Field(keys.c.scopes, "json-array", items="string"),
}
"""What keys are listed by."""

MAX_SCOPES = 200

Reader = Annotated[Caller, Depends(requires("keys.read"))]
Writer = Annotated[Caller, Depends(requires("keys.write"))]


def _check_scope(value: str) -> str:
    if value != ALL and value not in SCOPES:
        raise ValueError("Value must be one of the scopes of API keys")
    return value


Scope = Annotated[str, AfterValidator(_check_scope), BodyField(max_length=64)]


class KeyChanges(Body):
    """What a key is called, what it may do, and until when; None for ever."""

    name: Name
    scopes: Annotated[list[Scope], BodyField(max_length=MAX_SCOPES)]
    expire: Time | None = None


class NewKey(KeyChanges):
    """A key to be made."""

    keyId: CustomId


def check_grant(caller: Caller, scopes: list[str]) -> None:
    """Refuse to hand out what the caller has not got: whoever may write keys would have every scope otherwise."""
    for scope in scopes:
        if not caller.allows(scope):
            raise errors.bad_request(
                f"Invalid `scopes` param: only a key with the scope {scope} can give it."
            )


async def check_reach(tx: Transaction, caller: Caller, key_id: str) -> None:
    """Lock the API key that the caller is to change or delete, if there is one of this ID.

    Raises:
        ApiError: 401 ``general_unauthorized_scope`` for a key that may do what the caller may not.
    """
    row = await store.find_key(tx.connection, caller.project.id, key_id, lock=True)
    for scope in row["scopes"] if row is not None else ():
        if not caller.allows(scope):
            raise errors.missing_scope(caller.kind.value, scope)


@router.post(
    "/v1/project/keys",
    response_model=None,
    responses=documented(Key, 201),
    operation_id="projectCreateKey",
)
async def create_key(request: Request, body: NewKey, caller: Writer) -> Response:
    """Create an API key, with scopes that the caller has. Its secret is in the answer, and nowhere else."""
    check_grant(caller, body.scopes)
    secret = store.new_key_secret()
    async with services_of(request).store.write(caller.project) as tx:
        await require_row(tx.connection, caller.project.id, lock=True)
        try:
            row = await store.create_key(
                tx,
                key_id=choose_id(body.keyId),
                name=body.name,
                scopes=body.scopes,
                expires_at=body.expire,
                secret=secret,
            )
        except IntegrityError as error:
            raise refuse(Problem.KEY_EXISTS) from error
    return respond(key_model(row, secret=secret), 201)


@router.get(
    "/v1/project/keys", response_model=None, responses=documented(KeyList), operation_id="projectListKeys"
)
async def list_keys(
    request: Request, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List the API keys, without their secrets."""
    async with services_of(request).store.read() as connection:
        page = await fetch_page(
            connection,
            keys,
            FIELDS,
            params.query(FIELDS),
            where=[keys.c.project_id == caller.project.id],
            count=params.total,
        )
    return respond({"total": page.total, "keys": [key_model(row) for row in page.rows]})


@router.get(
    "/v1/project/keys/{keyId}",
    response_model=None,
    responses=documented(Key),
    operation_id="projectGetKey",
)
async def get_key(request: Request, keyId: str, caller: Reader) -> Response:
    """Get an API key, without its secret."""
    async with services_of(request).store.read() as connection:
        row = await store.find_key(connection, caller.project.id, keyId)
    if row is None:
        raise refuse(Problem.KEY_NOT_FOUND)
    return respond(key_model(row))


@router.put(
    "/v1/project/keys/{keyId}",
    response_model=None,
    responses=documented(Key),
    operation_id="projectUpdateKey",
)
async def update_key(request: Request, keyId: str, body: KeyChanges, caller: Writer) -> Response:
    """Change an API key that has, and will have, only scopes that the caller has; its open connections follow."""
    check_grant(caller, body.scopes)
    changes = {"name": body.name, "scopes": body.scopes, "expires_at": body.expire}
    async with services_of(request).store.write(caller.project) as tx:
        await check_reach(tx, caller, keyId)
        row = await store.update_key(tx, keyId, changes)
        if row is None:
            raise refuse(Problem.KEY_NOT_FOUND)
    return respond(key_model(row))


@router.delete(
    "/v1/project/keys/{keyId}",
    response_model=None,
    responses=documented(None),
    operation_id="projectDeleteKey",
)
async def delete_key(request: Request, keyId: str, caller: Writer) -> Response:
    """Delete an API key that has only scopes that the caller has; its open connections lose what it gave them."""
    async with services_of(request).store.write(caller.project) as tx:
        await check_reach(tx, caller, keyId)
        if not await store.delete_key(tx, keyId):
            raise refuse(Problem.KEY_NOT_FOUND)
    return respond(None)
