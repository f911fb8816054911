"""Routes that list what a user did, and what they belong to: logs, memberships, identities."""

from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy import RowMapping, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from workers.api.listing import ListParams, list_params
from workers.api.people.logs import read_logs
from workers.api.people.users import require_user
from workers.api.problems import Problem, refuse
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.api.users.access import Reader, UserId, Writer
from workers.models.logs import LogList
from workers.models.teams import MembershipList, membership_model
from workers.models.users import IdentityList
from workers.store.conditions import contains_text
from workers.store.fields import Field
from workers.store.pages import fetch_page
from workers.store.tables import memberships, teams

router = APIRouter(tags=["users"])

MEMBERSHIP_FIELDS = {
    "$id": Field(memberships.c.id, "id"),
    "$createdAt": Field(memberships.c.created_at, "datetime"),
    "$updatedAt": Field(memberships.c.updated_at, "datetime"),
    "userId": Field(memberships.c.user_id, "id"),
    "teamId": Field(memberships.c.team_id, "id"),
    "invited": Field(memberships.c.invited_at, "datetime"),
    "joined": Field(memberships.c.joined_at, "datetime"),
    "confirm": Field(memberships.c.confirmed, "boolean"),
    "roles": Field(memberships.c.roles, "json-array", "string"),
}
"""What a user's memberships are listed by."""

IDENTITY_ATTRIBUTES = frozenset({
    "$id", "$createdAt", "$updatedAt", "userId", "provider", "providerUid", "providerEmail",
    "providerAccessTokenExpiry",
})  # fmt: skip


@router.get(
    "/v1/users/{userId}/logs",
    response_model=None,
    responses=documented(LogList),
    operation_id="usersListLogs",
)
async def list_logs(
    request: Request, userId: UserId, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List what a user did, latest first. Only `limit` and `offset` are allowed."""
    async with services_of(request).store.read() as connection:
        user = await require_user(connection, caller.project.id, userId)
        return respond(await read_logs(connection, user, params))


@router.get(
    "/v1/users/{userId}/memberships",
    response_model=None,
    responses=documented(MembershipList),
    operation_id="usersListMemberships",
)
async def list_memberships(
    request: Request, userId: UserId, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List the teams that a user is in or invited to; `search` looks at the IDs and names of the teams."""
    query = params.query(MEMBERSHIP_FIELDS)
    where = [memberships.c.project_id == caller.project.id, memberships.c.user_id == userId]
    if params.search:
        named = select(teams.c.id).where(
            teams.c.project_id == caller.project.id, contains_text([teams.c.name], params.search)
        )
        where.append(or_(memberships.c.team_id == params.search, memberships.c.team_id.in_(named)))
    async with services_of(request).store.read() as connection:
        user = await require_user(connection, caller.project.id, userId)
        page = await fetch_page(
            connection, memberships, MEMBERSHIP_FIELDS, query, where=where, count=params.total
        )
        names = await _team_names(connection, caller.project.id, page.rows)
    models = [membership_model(row, user=user, team_name=names.get(row["team_id"], "")) for row in page.rows]
    return respond({"total": page.total, "memberships": models})


@router.get(
    "/v1/users/identities",
    response_model=None,
    responses=documented(IdentityList),
    operation_id="usersListIdentities",
)
async def list_identities(
    _request: Request, _caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List identities: accounts elsewhere that somebody logged in with. There are none, since no provider is known."""
    params.query(IDENTITY_ATTRIBUTES)
    return respond({"total": 0, "identities": []})


@router.delete(
    "/v1/users/identities/{identityId}",
    response_model=None,
    responses=documented(None, 204),
    operation_id="usersDeleteIdentity",
)
async def delete_identity(identityId: str, _caller: Writer) -> Response:  # noqa: ARG001 - it is none, whatever it is
    """Delete an identity; there are none."""
    raise refuse(Problem.USER_IDENTITY_NOT_FOUND)


async def _team_names(connection: AsyncConnection, project_id: str, rows: list[RowMapping]) -> dict[str, str]:
    found = await connection.execute(
        select(teams.c.id, teams.c.name).where(
            teams.c.project_id == project_id, teams.c.id.in_([row["team_id"] for row in rows])
        )
    )
    return {row.id: row.name for row in found}
