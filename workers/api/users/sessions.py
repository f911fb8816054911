"""Routes of a user's sessions, and of what they can be let in with otherwise: tokens and JSON Web Tokens."""

import secrets
import string
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy import RowMapping
from starlette.requests import Request
from starlette.responses import Response

from realtime.events.event import Event
from realtime.identity.secrets import encode_session
from workers.api.params import Body
from workers.api.people.jwts import DEFAULT_DURATION_S, MAX_DURATION_S, sign_jwt
from workers.api.people.sessions import create_session, delete_session, delete_sessions, sessions_of
from workers.api.people.targets import targets_of
from workers.api.people.tokens import create_token
from workers.api.people.users import require_user
from workers.api.problems import Problem, refuse
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.api.users.access import SessionReader, SessionWriter, UserId, Writer
from workers.models.sessions import Jwt, Session, SessionList, Token, session_model, token_model
from workers.models.users import show_user

router = APIRouter(tags=["users"])

_RECENT = frozenset({"", "recent"})
"""What asks for the latest session."""

_LETTERS = string.ascii_letters + string.digits


class NewToken(Body):
    """A secret to be made, for one login."""

    length: Annotated[int, Field(ge=4, le=128, description="Characters.")] = 6
    expire: Annotated[int, Field(ge=60, le=31_536_000, description="Seconds.")] = 900


class NewJwt(Body):
    """A JSON Web Token to be made."""

    sessionId: Annotated[str, Field(max_length=255)] = "recent"
    duration: Annotated[int, Field(ge=0, le=MAX_DURATION_S, description="Seconds.")] = DEFAULT_DURATION_S


@router.get(
    "/v1/users/{userId}/sessions",
    response_model=None,
    responses=documented(SessionList),
    operation_id="usersListSessions",
)
async def list_sessions(
    request: Request, userId: UserId, caller: SessionReader, *, total: bool = True
) -> Response:
    """List a user's sessions that have not expired."""
    async with services_of(request).store.read() as connection:
        await require_user(connection, caller.project.id, userId)
        models = [session_model(row) for row in await sessions_of(connection, caller.project.id, userId)]
    return respond({"total": len(models) if total else 0, "sessions": models})


@router.post(
    "/v1/users/{userId}/sessions",
    response_model=None,
    responses=documented(Session, 201),
    operation_id="usersCreateSession",
)
async def create(request: Request, userId: UserId, caller: SessionWriter) -> Response:
    """Begin a session for a user; the answer has the secret that they are let in with."""
    async with services_of(request).store.write(caller.project) as tx:
        # Locked, so that nothing is left behind of a user who is deleted at the same time.
        user = await require_user(tx.connection, caller.project.id, userId, lock=True)
        row, secret = await create_session(tx, request, user, provider="server", factors=["server"])
    return respond(session_model(row, secret=encode_session(userId, secret)), 201)


@router.delete(
    "/v1/users/{userId}/sessions",
    response_model=None,
    responses=documented(None, 204),
    operation_id="usersDeleteSessions",
)
async def delete_all(request: Request, userId: UserId, caller: SessionWriter) -> Response:
    """End all sessions of a user; the one event tells of the user (wire specification 7.1 and 9.4)."""
    async with services_of(request).store.write(caller.project) as tx:
        user = await require_user(tx.connection, caller.project.id, userId)
        await delete_sessions(tx, userId)
        payload = show_user(user, await targets_of(tx.connection, caller.project.id, userId))
        tx.emit(Event("users.[userId].sessions.delete", payload, params={"userId": userId}))
    return respond(None)


@router.delete(
    "/v1/users/{userId}/sessions/{sessionId}",
    response_model=None,
    responses=documented(None, 204),
    operation_id="usersDeleteSession",
)
async def delete(request: Request, userId: UserId, sessionId: str, caller: SessionWriter) -> Response:
    """End a session of a user."""
    async with services_of(request).store.write(caller.project) as tx:
        await require_user(tx.connection, caller.project.id, userId)
        present = await sessions_of(tx.connection, caller.project.id, userId, lock=True)
        await delete_session(tx, _require(present, sessionId))
    return respond(None)


@router.post(
    "/v1/users/{userId}/tokens",
    response_model=None,
    responses=documented(Token, 201),
    operation_id="usersCreateToken",
)
async def create_login_token(request: Request, userId: UserId, body: NewToken, caller: Writer) -> Response:
    """Make a secret that begins a session once, by `POST /v1/account/sessions/token`."""
    async with services_of(request).store.write(caller.project) as tx:
        await require_user(tx.connection, caller.project.id, userId, lock=True)
        secret = "".join(secrets.choice(_LETTERS) for _ in range(body.length))
        row, _ = await create_token(tx, userId, "generic", lifetime_s=body.expire, secret=secret)
        tx.emit(
            Event(
                "users.[userId].tokens.[tokenId].create",
                token_model(row),
                params={"userId": userId, "tokenId": row["id"]},
                sensitive=("secret",),
            )
        )
    return respond(token_model(row, secret=secret), 201)


@router.post(
    "/v1/users/{userId}/jwts",
    response_model=None,
    responses=documented(Jwt, 201),
    operation_id="usersCreateJWT",
)
async def create_jwt(request: Request, userId: UserId, body: NewJwt, caller: Writer) -> Response:
    """Make a JSON Web Token that stands for a user, and ends with their session if they have one."""
    services = services_of(request)
    async with services.store.read() as connection:
        await require_user(connection, caller.project.id, userId)
        present = await sessions_of(connection, caller.project.id, userId)
    session_id = present[-1]["id"] if present else ""
    if body.sessionId not in _RECENT:
        session_id = _require(present, body.sessionId)["id"]
    token = sign_jwt(
        services.settings,
        caller.project.id,
        userId,
        session_id=session_id,
        duration_s=body.duration,
        depth=caller.acting.depth,
    )
    return respond({"jwt": token}, 201)


def _require(present: Sequence[RowMapping], session_id: str) -> RowMapping:
    row = next((each for each in present if each["id"] == session_id), None)
    if row is None:
        raise refuse(Problem.USER_SESSION_NOT_FOUND)
    return row
