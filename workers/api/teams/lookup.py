"""What the routes of teams share: finding a team or a membership for a caller, and the events of both."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import RowMapping, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.events.event import Event
from realtime.permissions import is_valid_id
from workers.api.access import Caller
from workers.api.problems import Problem, refuse
from workers.models.people import Row
from workers.models.teams import EVERYTHING, MembershipPrivacy, membership_model
from workers.store.store import Transaction
from workers.store.tables import memberships, projects, teams, users

OWNER = "owner"
"""The role within a team whose holders may change it."""

MAX_ROLES = 1_000
"""How many roles a person may come to hold by their teams, one for each team, membership and role in it. Each request
and each connection of theirs is checked against all of them. API keys are not bound to it."""

TeamRole = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=36)]
TeamRoles = Annotated[
    list[TeamRole],
    Field(
        max_length=100, description="Roles within the team; up to 100, of letters, digits and `.`, `_`, `-`."
    ),
]


def team_ids_of(caller: Caller) -> list[str]:
    """Return the teams that a user is in."""
    return sorted(
        role.removeprefix("team:")
        for role in caller.roles
        if role.startswith("team:") and is_valid_id(role.removeprefix("team:"))
    )


def may_read(caller: Caller, team_id: str) -> bool:
    """Tell whether the caller may see the team and who is in it."""
    return caller.is_privileged or f"team:{team_id}" in caller.roles


def may_change(caller: Caller, team_id: str) -> bool:
    """Tell whether the caller may change the team and its memberships."""
    return caller.is_privileged or f"team:{team_id}/{OWNER}" in caller.roles


async def find_team(
    connection: AsyncConnection, project_id: str, team_id: str, *, lock: bool = False
) -> RowMapping | None:
    """Return the row of a team; None when there is none.

    Args:
        connection: where the transaction is.
        project_id: the project of the team.
        team_id: the team.
        lock: whether nobody else shall change it, or who is in it, until the transaction ends. Every change of
            memberships takes this lock, so the count of members is right; and whoever also locks a person does so
            before, so nobody waits in a circle.
    """
    statement = select(teams).where(teams.c.project_id == project_id, teams.c.id == team_id)
    found = await connection.execute(statement.with_for_update() if lock else statement)
    return found.mappings().one_or_none()


async def require_team(
    connection: AsyncConnection, caller: Caller, team_id: str, *, lock: bool = False
) -> RowMapping:
    """Return the row of a team that the caller may read; ``lock`` as :func:`find_team` has it.

    Raises:
        ApiError: 404 ``team_not_found``, also when the caller is not in it.
    """
    row = (
        await find_team(connection, caller.project.id, team_id, lock=lock)
        if may_read(caller, team_id)
        else None
    )
    if row is None:
        raise refuse(Problem.TEAM_NOT_FOUND)
    return row


async def require_own_team(
    connection: AsyncConnection, caller: Caller, team_id: str, *, lock: bool = True
) -> RowMapping:
    """Return the row of a team that the caller may change; ``lock`` as :func:`find_team` has it.

    Raises:
        ApiError: 404 ``team_not_found``; 401 ``user_unauthorized`` when the caller is in it, but no owner.
    """
    row = await require_team(connection, caller, team_id, lock=lock)
    if not may_change(caller, team_id):
        raise refuse(Problem.USER_UNAUTHORIZED)
    return row


async def require_membership(
    connection: AsyncConnection, project_id: str, team_id: str, membership_id: str
) -> RowMapping:
    """Return the row of a membership of a team.

    Raises:
        ApiError: 404 ``membership_not_found``, or ``team_membership_mismatch`` when it is one of another team.
    """
    found = await connection.execute(
        select(memberships).where(memberships.c.project_id == project_id, memberships.c.id == membership_id)
    )
    row = found.mappings().one_or_none()
    if row is None:
        raise refuse(Problem.MEMBERSHIP_NOT_FOUND)
    if row["team_id"] != team_id:
        raise refuse(Problem.TEAM_MISMATCH)
    return row


async def find_member(connection: AsyncConnection, membership: Row) -> RowMapping | None:
    """Return the row of the user whose membership it is; None when the user is gone."""
    found = await connection.execute(
        select(users).where(
            users.c.project_id == membership["project_id"], users.c.id == membership["user_id"]
        )
    )
    return found.mappings().one_or_none()


async def load_privacy(connection: AsyncConnection, project_id: str) -> MembershipPrivacy:
    """Return what clients of a project see of the people in their teams."""
    found = await connection.execute(select(projects.c.policies).where(projects.c.id == project_id))
    return MembershipPrivacy.from_policies(found.scalar_one_or_none() or {})


async def privacy_for(connection: AsyncConnection, caller: Caller) -> MembershipPrivacy:
    """Return what the caller sees of the people in a team; servers see everything."""
    return EVERYTHING if caller.is_privileged else await load_privacy(connection, caller.project.id)


async def check_roles(tx: Transaction, caller: Caller, user_id: str) -> None:
    """Refuse a change of memberships that has just given a user too many roles.

    Raises:
        ApiError: 400 ``team_roles_limit_exceeded``, if the caller is bound to :data:`MAX_ROLES`.
    """
    if caller.is_privileged:
        return
    found = await tx.connection.execute(
        select(memberships.c.roles).where(
            memberships.c.project_id == tx.project.id,
            memberships.c.user_id == user_id,
            memberships.c.confirmed,
        )
    )
    if sum(2 + len(roles) for roles in found.scalars()) > MAX_ROLES:
        raise refuse(Problem.TEAM_ROLES_LIMIT)


async def count_member(tx: Transaction, team_id: str, change: int) -> None:
    """Add ``change`` to the number of confirmed members of a team."""
    await tx.connection.execute(
        update(teams)
        .where(teams.c.project_id == tx.project.id, teams.c.id == team_id)
        .values(total=teams.c.total + change)
    )


def emit_team(tx: Transaction, action: str, row: Row, payload: Mapping[str, Any], user_id: str = "") -> None:
    """Record the event ``teams.T.<action>``; ``user_id`` is whom it concerns besides the team."""
    params = {"teamId": row["id"]} | ({"userId": user_id} if user_id else {})
    tx.emit(Event(f"teams.[teamId].{action}", payload, params=params))


async def emit_membership(
    tx: Transaction, action: str, membership: Row, *, user: Row | None, team_name: str
) -> None:
    """Record the event ``teams.T.memberships.M.<action>``, after the change of the member's roles.

    The whole team receives it: its payload shows of the person what every member may see.
    """
    tx.change_user(membership["user_id"])
    shows = await load_privacy(tx.connection, tx.project.id)
    payload = membership_model(membership, user=user, team_name=team_name, shows=shows)
    params = {
        "teamId": membership["team_id"],
        "membershipId": membership["id"],
        "userId": membership["user_id"],
    }
    tx.emit(Event(f"teams.[teamId].memberships.[membershipId].{action}", payload, params=params))
