"""Routes of users themselves: list, read, delete."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy import RowMapping, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from workers.api.listing import ListParams, list_params
from workers.api.people.users import delete_user, require_user
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.api.users.access import Reader, UserId, Writer, respond_with_user
from workers.models.users import User, UserList, show_user, user_list_model
from workers.store.conditions import contains_text
from workers.store.fields import Field
from workers.store.pages import fetch_page
from workers.store.tables import targets, users

router = APIRouter(tags=["users"])

FIELDS = {
    "$id": Field(users.c.id, "id"),
    "$createdAt": Field(users.c.created_at, "datetime"),
    "$updatedAt": Field(users.c.updated_at, "datetime"),
    "name": Field(users.c.name, "string"),
    "email": Field(users.c.email, "string"),
    "phone": Field(users.c.phone, "string"),
    "status": Field(users.c.status, "boolean"),
    "passwordUpdate": Field(users.c.password_updated_at, "datetime"),
    "registration": Field(users.c.registered_at, "datetime"),
    "emailVerification": Field(users.c.email_verified, "boolean"),
    "phoneVerification": Field(users.c.phone_verified, "boolean"),
    "labels": Field(users.c.labels, "json-array", "string"),
    "impersonator": Field(users.c.impersonator, "boolean"),
    "accessedAt": Field(users.c.accessed_at, "datetime"),
}
"""What users are listed by."""


@router.get("/v1/users", response_model=None, responses=documented(UserList), operation_id="usersList")
async def list_users(
    request: Request, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List the users of the project; `search` looks at their IDs, names, addresses and phone numbers."""
    query = params.query(FIELDS)
    where = [users.c.project_id == caller.project.id]
    if params.search:
        texts = (users.c.name, users.c.email, users.c.phone)
        where.append(or_(users.c.id == params.search, contains_text(texts, params.search)))
    async with services_of(request).store.read() as connection:
        page = await fetch_page(connection, users, FIELDS, query, where=where, count=params.total)
        reached = await _targets_by_user(connection, caller.project.id, [row["id"] for row in page.rows])
    return respond(user_list_model(page.rows, reached, page.total))


@router.get("/v1/users/{userId}", response_model=None, responses=documented(User), operation_id="usersGet")
async def get(request: Request, userId: UserId, caller: Reader) -> Response:
    """Return a user."""
    async with services_of(request).store.read() as connection:
        row = await require_user(connection, caller.project.id, userId)
        return await respond_with_user(connection, caller.project.id, row)


@router.delete(
    "/v1/users/{userId}", response_model=None, responses=documented(None, 204), operation_id="usersDelete"
)
async def delete(request: Request, userId: UserId, caller: Writer) -> Response:
    """Delete a user with their sessions, memberships, targets, transactions and log; the ID may then be used again."""
    async with services_of(request).store.write(caller.project) as tx:
        row = await require_user(tx.connection, caller.project.id, userId, lock=True)
        await delete_user(tx, row, show=show_user)
    return respond(None)


async def _targets_by_user(
    connection: AsyncConnection, project_id: str, user_ids: Sequence[str]
) -> dict[str, list[RowMapping]]:
    found = await connection.execute(
        select(targets)
        .where(targets.c.project_id == project_id, targets.c.user_id.in_(user_ids))
        .order_by(targets.c.seq)
    )
    by_user: defaultdict[str, list[RowMapping]] = defaultdict(list)
    for row in found.mappings():
        by_user[row["user_id"]].append(row)
    return by_user
