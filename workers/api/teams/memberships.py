"""Routes of memberships: list, read, change the roles, delete."""

from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy import ColumnElement, and_, delete, or_, select, true, update
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import Caller, requires
from workers.api.listing import ListParams, list_params
from workers.api.params import Body
from workers.api.problems import Problem, refuse
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.api.teams.lookup import (
    TeamRoles,
    check_roles,
    count_member,
    emit_membership,
    find_member,
    find_team,
    may_change,
    may_read,
    privacy_for,
    require_membership,
    require_own_team,
    require_team,
)
from workers.models.teams import Membership, MembershipList, MembershipPrivacy, membership_model
from workers.store.conditions import contains_text
from workers.store.fields import Field
from workers.store.pages import fetch_page
from workers.store.store import Transaction
from workers.store.tables import memberships, users

router = APIRouter(tags=["teams"])

FIELDS = {
    "$id": Field(memberships.c.id, "id"),
    "$createdAt": Field(memberships.c.created_at, "datetime"),
    "$updatedAt": Field(memberships.c.updated_at, "datetime"),
    "userId": Field(memberships.c.user_id, "id"),
    "teamId": Field(memberships.c.team_id, "id"),
    "invited": Field(memberships.c.invited_at, "datetime"),
    "joined": Field(memberships.c.joined_at, "datetime"),
    "confirm": Field(memberships.c.confirmed, "boolean"),
    "roles": Field(memberships.c.roles, "json-array"),
}
"""What memberships are listed by."""

Reader = Annotated[Caller, Depends(requires("teams.read"))]
Writer = Annotated[Caller, Depends(requires("teams.write"))]


class NewRoles(Body):
    """The roles that replace those of a member."""

    roles: TeamRoles


@router.get(
    "/v1/teams/{teamId}/memberships",
    response_model=None,
    responses=documented(MembershipList),
    operation_id="teamsListMemberships",
)
async def list_memberships(
    request: Request, teamId: str, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List the memberships of a team, invitations included."""
    query = params.query(FIELDS)
    of_project = users.c.project_id == caller.project.id
    where = [memberships.c.project_id == caller.project.id, memberships.c.team_id == teamId]
    async with services_of(request).store.read() as connection:
        team = await require_team(connection, caller, teamId)
        shows = await privacy_for(connection, caller)
        if params.search:
            where.append(_matches(caller.project.id, params.search, shows))
        page = await fetch_page(connection, memberships, FIELDS, query, where=where, count=params.total)
        member_ids = [row["user_id"] for row in page.rows]
        people = await connection.execute(select(users).where(of_project, users.c.id.in_(member_ids)))
        by_id = {user["id"]: user for user in people.mappings()}
    models = [
        membership_model(row, user=by_id.get(row["user_id"]), team_name=team["name"], shows=shows)
        for row in page.rows
    ]
    return respond({"total": page.total, "memberships": models})


def _matches(project_id: str, text: str, shows: MembershipPrivacy) -> ColumnElement[bool]:
    """Return the condition for memberships in whose ID, or in whose user's name, ``text`` is found."""
    by_id = contains_text([memberships.c.id], text)
    if not shows.user_name:
        # What is hidden must not be found either.
        return by_id
    seen = true() if shows.before_joining else memberships.c.confirmed
    named = select(users.c.id).where(users.c.project_id == project_id, contains_text([users.c.name], text))
    return or_(by_id, and_(seen, memberships.c.user_id.in_(named)))


@router.get(
    "/v1/teams/{teamId}/memberships/{membershipId}",
    response_model=None,
    responses=documented(Membership),
    operation_id="teamsGetMembership",
)
async def get_membership(request: Request, teamId: str, membershipId: str, caller: Reader) -> Response:
    """Return a membership."""
    async with services_of(request).store.read() as connection:
        team = await require_team(connection, caller, teamId)
        row = await require_membership(connection, caller.project.id, teamId, membershipId)
        user = await find_member(connection, row)
        shows = await privacy_for(connection, caller)
    return respond(membership_model(row, user=user, team_name=team["name"], shows=shows))


@router.patch(
    "/v1/teams/{teamId}/memberships/{membershipId}",
    response_model=None,
    responses=documented(Membership),
    operation_id="teamsUpdateMembership",
)
async def update_roles(
    request: Request, teamId: str, membershipId: str, body: NewRoles, caller: Writer
) -> Response:
    """Change the roles of a member within the team."""
    async with services_of(request).store.write(caller.project) as tx:
        team = await require_own_team(tx.connection, caller, teamId)
        found = await require_membership(tx.connection, caller.project.id, teamId, membershipId)
        changes = {"roles": list(dict.fromkeys(body.roles)), "updated_at": tx.now_text}
        await tx.connection.execute(
            update(memberships).where(memberships.c.seq == found["seq"]).values(changes)
        )
        if found["confirmed"] and len(changes["roles"]) > len(found["roles"]):
            await check_roles(tx, caller, found["user_id"])
        row = dict(found) | changes
        user = await find_member(tx.connection, row)
        await emit_membership(tx, "update", row, user=user, team_name=team["name"])
        shows = await privacy_for(tx.connection, caller)
    return respond(membership_model(row, user=user, team_name=team["name"], shows=shows))


@router.delete(
    "/v1/teams/{teamId}/memberships/{membershipId}",
    response_model=None,
    status_code=204,
    responses=documented(None),
    operation_id="teamsDeleteMembership",
)
async def delete_membership(request: Request, teamId: str, membershipId: str, caller: Writer) -> Response:
    """Remove a member, withdraw an invitation, leave the team, or decline to join it."""
    async with services_of(request).store.write(caller.project) as tx:
        team = await find_team(tx.connection, caller.project.id, teamId, lock=True)
        is_insider = may_read(caller, teamId) or await _is_invited(tx, caller.user_id, membershipId)
        if team is None or not is_insider:
            raise refuse(Problem.TEAM_NOT_FOUND)
        row = await require_membership(tx.connection, caller.project.id, teamId, membershipId)
        if not may_change(caller, teamId) and row["user_id"] != caller.user_id:
            raise refuse(Problem.USER_UNAUTHORIZED)
        await tx.connection.execute(delete(memberships).where(memberships.c.seq == row["seq"]))
        if row["confirmed"]:
            await count_member(tx, teamId, -1)
        user = await find_member(tx.connection, row)
        await emit_membership(tx, "delete", row, user=user, team_name=team["name"])
    return respond(None)


async def _is_invited(tx: Transaction, user_id: str, membership_id: str) -> bool:
    """Tell whether a membership is the user's own, who need not be in the team yet."""
    found = await tx.connection.execute(
        select(memberships.c.seq).where(
            memberships.c.project_id == tx.project.id,
            memberships.c.id == membership_id,
            memberships.c.user_id == user_id,
        )
    )
    return found.first() is not None
