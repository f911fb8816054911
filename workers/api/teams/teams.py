"""Routes of teams themselves: create, list, read, rename, preferences, delete."""

from typing import Annotated, Any

import pydantic
from fastapi import APIRouter, Depends
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import Caller, requires
from workers.api.listing import ListParams, list_params
from workers.api.params import Body, CustomId, Name
from workers.api.people.fields import Prefs
from workers.api.people.users import require_user
from workers.api.problems import Problem, refuse
from workers.api.rates import rate_limit
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.api.teams.lookup import (
    OWNER,
    TeamRoles,
    check_roles,
    count_member,
    emit_team,
    require_own_team,
    require_team,
    team_ids_of,
)
from workers.models.teams import Team, TeamList, team_model
from workers.store.conditions import contains_text
from workers.store.fields import Field
from workers.store.ids import choose_id, new_id
from workers.store.pages import fetch_page
from workers.store.store import Transaction
from workers.store.tables import memberships, teams

router = APIRouter(tags=["teams"])

FIELDS = {
    "$id": Field(teams.c.id, "id"),
    "$createdAt": Field(teams.c.created_at, "datetime"),
    "$updatedAt": Field(teams.c.updated_at, "datetime"),
    "name": Field(teams.c.name, "string"),
    "total": Field(teams.c.total, "integer"),
}
"""What teams are listed by."""

Reader = Annotated[Caller, Depends(requires("teams.read"))]
Writer = Annotated[Caller, Depends(requires("teams.write"))]


class NewTeam(Body):
    """A team to be made, and the roles that whoever makes it gets in it."""

    teamId: CustomId
    name: Name
    roles: TeamRoles = pydantic.Field(default=[OWNER])


class TeamName(Body):
    """A new name."""

    name: Name


class TeamPrefs(Body):
    """Preferences, which replace the earlier ones."""

    prefs: Prefs


@router.post(
    "/v1/teams",
    response_model=None,
    responses=documented(Team, 201),
    operation_id="teamsCreate",
    dependencies=[Depends(rate_limit(limit=100, window_s=3600, by=("user", "url")))],
)
async def create_team(request: Request, body: NewTeam, caller: Writer) -> Response:
    """Create a team. A user who does so becomes its first member, with the roles given."""
    async with services_of(request).store.write(caller.project) as tx:
        if caller.user_id:
            # Locked, so that who is being deleted is not left behind; there is no user behind some tokens.
            await require_user(tx.connection, caller.project.id, caller.user_id, lock=True)
        row: dict[str, Any] = {
            "project_id": caller.project.id,
            "id": choose_id(body.teamId),
            "name": body.name,
            "prefs": {},
            "total": 0,
            "created_at": tx.now_text,
            "updated_at": tx.now_text,
        }
        try:
            await tx.connection.execute(insert(teams), row)
        except IntegrityError as error:
            raise refuse(Problem.TEAM_EXISTS) from error
        if caller.user_id:
            await _join(tx, row["id"], caller.user_id, body.roles)
            await check_roles(tx, caller, caller.user_id)
            row["total"] = 1
        emit_team(tx, "create", row, team_model(row), caller.user_id)
    return respond(team_model(row), 201)


async def _join(tx: Transaction, team_id: str, user_id: str, roles: list[str]) -> None:
    membership = {
        "project_id": tx.project.id,
        "id": new_id(),
        "team_id": team_id,
        "user_id": user_id,
        "roles": list(dict.fromkeys(roles)),
        "confirmed": True,
        "invited_at": tx.now_text,
        "joined_at": tx.now_text,
        "created_at": tx.now_text,
        "updated_at": tx.now_text,
    }
    await tx.connection.execute(insert(memberships), membership)
    await count_member(tx, team_id, 1)
    tx.change_user(user_id)


@router.get("/v1/teams", response_model=None, responses=documented(TeamList), operation_id="teamsList")
async def list_teams(
    request: Request, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List teams: those that the user is in, or all of them for an API key."""
    query = params.query(FIELDS)
    where = [teams.c.project_id == caller.project.id]
    if not caller.is_privileged:
        where.append(teams.c.id.in_(team_ids_of(caller)))
    if params.search:
        where.append(contains_text([teams.c.id, teams.c.name], params.search))
    async with services_of(request).store.read() as connection:
        page = await fetch_page(connection, teams, FIELDS, query, where=where, count=params.total)
    return respond({"total": page.total, "teams": [team_model(row) for row in page.rows]})


@router.get("/v1/teams/{teamId}", response_model=None, responses=documented(Team), operation_id="teamsGet")
async def get_team(request: Request, teamId: str, caller: Reader) -> Response:
    """Return a team."""
    async with services_of(request).store.read() as connection:
        return respond(team_model(await require_team(connection, caller, teamId)))


@router.put(
    "/v1/teams/{teamId}", response_model=None, responses=documented(Team), operation_id="teamsUpdateName"
)
async def update_name(request: Request, teamId: str, body: TeamName, caller: Writer) -> Response:
    """Rename a team."""
    async with services_of(request).store.write(caller.project) as tx:
        row = await require_own_team(tx.connection, caller, teamId)
        model = team_model(await _update(tx, dict(row), {"name": body.name}))
        emit_team(tx, "update", row, model)
    return respond(model)


@router.get(
    "/v1/teams/{teamId}/prefs",
    response_model=None,
    responses=documented(dict[str, Any]),
    operation_id="teamsGetPrefs",
)
async def get_prefs(request: Request, teamId: str, caller: Reader) -> Response:
    """Return what the members of a team prefer together."""
    async with services_of(request).store.read() as connection:
        return respond((await require_team(connection, caller, teamId))["prefs"])


@router.put(
    "/v1/teams/{teamId}/prefs",
    response_model=None,
    responses=documented(dict[str, Any]),
    operation_id="teamsUpdatePrefs",
)
async def update_prefs(request: Request, teamId: str, body: TeamPrefs, caller: Writer) -> Response:
    """Replace the preferences of a team."""
    async with services_of(request).store.write(caller.project) as tx:
        row = await require_own_team(tx.connection, caller, teamId)
        await _update(tx, dict(row), {"prefs": body.prefs})
        emit_team(tx, "update.prefs", row, body.prefs)
    return respond(body.prefs)


async def _update(tx: Transaction, row: dict[Any, Any], changes: dict[str, Any]) -> dict[Any, Any]:
    changes = changes | {"updated_at": tx.now_text}
    await tx.connection.execute(update(teams).where(teams.c.seq == row["seq"]).values(changes))
    return row | changes


@router.delete(
    "/v1/teams/{teamId}",
    response_model=None,
    status_code=204,
    responses=documented(None),
    operation_id="teamsDelete",
)
async def delete_team(request: Request, teamId: str, caller: Writer) -> Response:
    """Delete a team with its memberships. Its members are told of it once, by the event of the team."""
    async with services_of(request).store.write(caller.project) as tx:
        row = await require_own_team(tx.connection, caller, teamId)
        of_team = (memberships.c.project_id == caller.project.id, memberships.c.team_id == teamId)
        members = await tx.connection.execute(select(memberships.c.user_id).where(*of_team))
        user_ids = members.scalars().all()
        await tx.connection.execute(delete(memberships).where(*of_team))
        await tx.connection.execute(delete(teams).where(teams.c.seq == row["seq"]))
        for user_id in user_ids:
            tx.change_user(user_id)
        emit_team(tx, "delete", row, team_model(row))
    return respond(None)
