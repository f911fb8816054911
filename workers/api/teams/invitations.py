"""Routes by which people come into a team: invite, and accept.

What an owner of the team begins by mail, an API key does at once. An invitation holds the hash of its secret together
with the address that it was sent to: whoever has both was reached there, so accepting it verifies the address, and an
invitation to an address that its owner gave up is void. Until then the team learns nothing of the person that whoever
invited them did not say: else inviting a user ID would tell whose it is.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import Field
from sqlalchemy import RowMapping, insert, select, update
from starlette.requests import Request
from starlette.responses import Response

from realtime.identity.secrets import encode_session, hash_secret, verify_secret
from workers.api.access import Caller, CallerKind, find_caller, requires
from workers.api.mail import Mail, send_later
from workers.api.params import MAX_ID_CHARS, Body
from workers.api.people.cookies import set_session
from workers.api.people.fields import Email, PersonName, Phone
from workers.api.people.links import LinkUrl, check_link, extend_link
from workers.api.people.proofs import prove_address
from workers.api.people.sessions import create_session
from workers.api.people.users import (
    create_user,
    find_user,
    find_user_by_email,
    find_user_by_phone,
    require_user,
    update_user,
)
from workers.api.problems import Problem, refuse
from workers.api.rates import rate_limit
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.api.teams.lookup import (
    TeamRoles,
    check_roles,
    count_member,
    emit_membership,
    find_team,
    privacy_for,
    require_own_team,
)
from workers.models.people import Row
from workers.models.teams import Membership, membership_model
from workers.models.users import show_user
from workers.store.ids import new_id, new_secret
from workers.store.store import Transaction
from workers.store.tables import memberships

router = APIRouter(tags=["teams"])


class NewMembership(Body):
    """Whom to take into a team: the user, or else the e-mail address, or else the phone number counts."""

    roles: TeamRoles
    email: Email | Literal[""] = ""
    userId: Annotated[str, Field(max_length=MAX_ID_CHARS)] = ""
    phone: Phone | Literal[""] = ""
    url: LinkUrl = ""
    name: PersonName = ""


class Acceptance(Body):
    """What the link in an invitation holds."""

    userId: Annotated[str, Field(max_length=MAX_ID_CHARS)]
    secret: Annotated[str, Field(max_length=256)]


@router.post(
    "/v1/teams/{teamId}/memberships",
    response_model=None,
    responses=documented(Membership, 201),
    operation_id="teamsCreateMembership",
    dependencies=[Depends(rate_limit(limit=10, window_s=3600, by=("ip", "url")))],
)
async def create_membership(
    request: Request,
    teamId: str,
    body: NewMembership,
    caller: Annotated[Caller, Depends(requires("teams.write"))],
) -> Response:
    """Invite somebody by mail; an API key takes them into the team at once."""
    services = services_of(request)
    if not (body.userId or body.email or body.phone):
        raise refuse(Problem.ARGUMENT, reason="At least one of `userId`, `email` and `phone` must be given.")
    if not caller.is_privileged:
        check_link(body.url, caller.project, services.settings)
    secret = "" if caller.is_privileged else new_secret()
    async with services.store.write(caller.project) as tx:
        # People are locked before their teams, as when one is deleted; but nobody is made for a stranger.
        await require_own_team(tx.connection, caller, teamId, lock=False)
        user = await _invitee(tx, body)
        if secret and not user["email"]:
            raise refuse(Problem.PHONE_DISABLED)
        team = await require_own_team(tx.connection, caller, teamId)
        row, action = await _put_membership(tx, team, user, body, secret)
        await emit_membership(tx, action, row, user=user, team_name=team["name"])
        shows = await privacy_for(tx.connection, caller)
    response = respond(membership_model(row, user=user, team_name=team["name"], shows=shows), 201)
    if secret:
        response.background = send_later(services.mailer, _invitation(body.url, team, row, user, secret))
    return response


async def _invitee(tx: Transaction, body: NewMembership) -> RowMapping:
    """Return the user to invite, locked; made if the address is new."""
    connection, project_id = tx.connection, tx.project.id
    if body.userId:
        return await require_user(connection, project_id, body.userId, lock=True)
    email, phone = (body.email, None) if body.email else (None, body.phone)
    if email:
        found = await find_user_by_email(connection, project_id, email)
    else:
        found = await find_user_by_phone(connection, project_id, body.phone)
    user = await find_user(connection, project_id, found["id"], lock=True) if found else None
    if user is None:
        user = await create_user(
            tx, user_id=new_id(), email=email, phone=phone, name=body.name, show=show_user
        )
    return user


async def _put_membership(
    tx: Transaction, team: Row, user: Row, body: NewMembership, secret: str
) -> tuple[RowMapping, str]:
    """Make a membership, or renew an invitation; without a secret it is confirmed. The team is locked.

    Returns:
        The row, and the action that the event names.
    """
    of_user = (
        memberships.c.project_id == tx.project.id,
        memberships.c.team_id == team["id"],
        memberships.c.user_id == user["id"],
    )
    values = {
        "roles": list(dict.fromkeys(body.roles)),
        "confirmed": not secret,
        "invited_at": tx.now_text,
        "joined_at": None if secret else tx.now_text,
        "secret_hash": _invitation_hash(secret, user) if secret else "",
        "invited_email": "" if body.userId else body.email,
        "invited_name": body.name,
        "updated_at": tx.now_text,
    }
    existing = (await tx.connection.execute(select(memberships).where(*of_user))).mappings().one_or_none()
    if existing is not None and existing["confirmed"]:
        raise refuse(Problem.MEMBERSHIP_CONFIRMED)
    if existing is not None:
        action = "update" if secret else "update.status"
        changed = update(memberships).where(memberships.c.seq == existing["seq"]).values(values)
        row = (await tx.connection.execute(changed.returning(memberships))).mappings().one()
    else:
        action = "create"
        values |= {
            "project_id": tx.project.id,
            "id": new_id(),
            "team_id": team["id"],
            "user_id": user["id"],
            "created_at": tx.now_text,
        }
        made = insert(memberships).values(values).returning(memberships)
        row = (await tx.connection.execute(made)).mappings().one()
    if not secret:
        await count_member(tx, team["id"], 1)
    return row, action


def _invitation_hash(secret: str, user: Row) -> str:
    return hash_secret(f"{user['email']} {secret}")


def _invitation(url: str, team: Row, membership: Row, user: Row, secret: str) -> Mail:
    link = extend_link(
        url,
        membershipId=membership["id"],
        userId=user["id"],
        secret=secret,
        teamId=team["id"],
        teamName=team["name"],
    )
    text = (
        f"Hello {user['name']}".rstrip() + ",\n\n"
        f"you are invited to join the team {team['name']}. Follow this link to accept:\n\n{link}\n\n"
        "If you do not want to join, ignore this message.\n"
    )
    return Mail(to=user["email"], subject=f"Invitation to {team['name']}", text=text)


@router.patch(
    "/v1/teams/{teamId}/memberships/{membershipId}/status",
    response_model=None,
    responses=documented(Membership),
    operation_id="teamsUpdateMembershipStatus",
    dependencies=[Depends(rate_limit(limit=60, window_s=60))],
)
async def accept_invitation(
    request: Request,
    teamId: str,
    membershipId: str,
    body: Acceptance,
    caller: Annotated[Caller, Depends(find_caller)],
) -> Response:
    """Accept an invitation. Whoever is not logged in is then, as the person invited.

    If that verifies their address, the password and the sessions from before are void.
    """
    async with services_of(request).store.write(caller.project) as tx:
        user = await find_user(tx.connection, caller.project.id, body.userId, lock=True)
        team = await find_team(tx.connection, caller.project.id, teamId, lock=True)
        found = await _find_invitation(tx, membershipId)
        if team is None or found is None or found["team_id"] != teamId:
            raise refuse(Problem.TEAM_INVITE_NOT_FOUND)
        if user is None or found["user_id"] != user["id"] or caller.user_id not in ("", user["id"]):
            raise refuse(Problem.TEAM_INVITE_MISMATCH)
        if not verify_secret(f"{user['email']} {body.secret}", found["secret_hash"]):
            raise refuse(Problem.TEAM_INVALID_SECRET)
        if not user["status"]:
            raise refuse(Problem.USER_BLOCKED)
        if found["confirmed"]:
            raise refuse(Problem.MEMBERSHIP_CONFIRMED)
        row = await _confirm(tx, found)
        await check_roles(tx, caller, user["id"])
        if caller.kind is CallerKind.GUEST:
            user = await prove_address(tx, user, show=show_user)
        elif not user["email_verified"]:
            # They have shown both, that the account is theirs and the address.
            changes = {"email_verified": True}
            user = await update_user(tx, user, changes, attribute="verification", show=show_user)
        await emit_membership(tx, "update.status", row, user=user, team_name=team["name"])
        session = None
        if caller.kind is CallerKind.GUEST:
            session = await create_session(tx, request, user, provider="email", factors=["email"])
        shows = await privacy_for(tx.connection, caller)
    response = respond(membership_model(row, user=user, team_name=team["name"], shows=shows))
    if session is not None:
        value = encode_session(user["id"], session[1])
        set_session(response, request, caller.project.id, value, session[0]["expires_at"])
    return response


async def _find_invitation(tx: Transaction, membership_id: str) -> RowMapping | None:
    found = await tx.connection.execute(
        select(memberships).where(
            memberships.c.project_id == tx.project.id, memberships.c.id == membership_id
        )
    )
    return found.mappings().one_or_none()


async def _confirm(tx: Transaction, membership: Row) -> RowMapping:
    changes = {"confirmed": True, "joined_at": tx.now_text, "updated_at": tx.now_text}
    changed = update(memberships).where(memberships.c.seq == membership["seq"]).values(changes)
    row: RowMapping = (await tx.connection.execute(changed.returning(memberships))).mappings().one()
    await count_member(tx, membership["team_id"], 1)
    return row
