"""Routes of the sessions that a person has: see where one is logged in, stay, and log out."""

from collections.abc import Sequence

from fastapi import APIRouter, Depends
from sqlalchemy import RowMapping, update
from starlette.requests import Request
from starlette.responses import Response

from realtime.hub.handshake import read_credentials
from realtime.identity.secrets import decode_session
from workers.api.access import Caller
from workers.api.account.signed_in import HalfSignedIn, SignedIn
from workers.api.people.cookies import clear_session, set_session
from workers.api.people.logs import record
from workers.api.people.policies import read_policies
from workers.api.people.sessions import (
    announce_session,
    delete_session,
    delete_sessions,
    expiry,
    sessions_of,
)
from workers.api.problems import Problem, refuse
from workers.api.rates import rate_limit
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.models.sessions import Session, SessionList, session_model
from workers.store.tables import sessions

router = APIRouter(tags=["account"])

CURRENT = "current"
"""Stands in paths for the session that the request is made with."""


@router.get(
    "/v1/account/sessions",
    response_model=None,
    responses=documented(SessionList),
    operation_id="accountListSessions",
)
async def list_sessions(request: Request, caller: SignedIn) -> Response:
    """Return everywhere that the person is logged in."""
    async with services_of(request).store.read() as connection:
        rows = await sessions_of(connection, caller.project.id, caller.user_id)
    models = [session_model(row, current_id=caller.session_id) for row in rows]
    return respond({"total": len(models), "sessions": models})


@router.get(
    "/v1/account/sessions/{sessionId}",
    response_model=None,
    responses=documented(Session),
    operation_id="accountGetSession",
)
async def get_session(request: Request, sessionId: str, caller: SignedIn) -> Response:
    """Return one session; ``current`` for the one of this request."""
    async with services_of(request).store.read() as connection:
        rows = await sessions_of(connection, caller.project.id, caller.user_id)
    return respond(session_model(_pick(rows, sessionId, caller), current_id=caller.session_id))


@router.patch(
    "/v1/account/sessions/{sessionId}",
    response_model=None,
    responses=documented(Session),
    operation_id="accountUpdateSession",
    dependencies=[Depends(rate_limit(limit=10, window_s=3600, by=("user", "url")))],
)
async def update_session(request: Request, sessionId: str, caller: SignedIn) -> Response:
    """Let a session last as long as a new one would."""
    services = services_of(request)
    async with services.store.write(caller.project) as tx:
        rows = await sessions_of(tx.connection, tx.project.id, caller.user_id, lock=True)
        row = _pick(rows, sessionId, caller)
        policies = await read_policies(tx.connection, tx.project.id, services.settings)
        changed = await tx.connection.execute(
            update(sessions)
            .where(sessions.c.seq == row["seq"])
            .values(expires_at=expiry(tx, policies.session_lifetime_s), updated_at=tx.now_text)
            .returning(sessions)
        )
        row = changed.mappings().one()
        announce_session(tx, row, "update")
        await record(tx, request, caller.user_id, "session.update")
    response = respond(session_model(row, current_id=caller.session_id))
    value = _shown_value(request, caller)
    if value and row["id"] == caller.session_id:
        # The browser would drop its cookie at the old end.
        set_session(response, request, caller.project.id, value, row["expires_at"])
    return response


@router.delete(
    "/v1/account/sessions/{sessionId}",
    response_model=None,
    responses=documented(None),
    status_code=204,
    operation_id="accountDeleteSession",
    dependencies=[Depends(rate_limit(limit=100, window_s=60, by=("user", "url")))],
)
async def end_session(request: Request, sessionId: str, caller: HalfSignedIn) -> Response:
    """Log out: of the session with this ID, or of the ``current`` one, which alone needs no second factor."""
    if caller.mfa_pending and sessionId not in (CURRENT, caller.session_id):
        raise refuse(Problem.MORE_FACTORS)
    async with services_of(request).store.write(caller.project) as tx:
        rows = await sessions_of(tx.connection, tx.project.id, caller.user_id, lock=True)
        row = _pick(rows, sessionId, caller)
        await delete_session(tx, row)
        await record(tx, request, caller.user_id, "session.delete")
    response = respond(None)
    if row["id"] == caller.session_id:
        clear_session(response, request, caller.project.id)
    return response


@router.delete(
    "/v1/account/sessions",
    response_model=None,
    responses=documented(None),
    status_code=204,
    operation_id="accountDeleteSessions",
    dependencies=[Depends(rate_limit(limit=100, window_s=60, by=("user", "url")))],
)
async def end_sessions(request: Request, caller: SignedIn) -> Response:
    """Log out everywhere. One event tells of it, that of the current session (wire specification 9.4)."""
    async with services_of(request).store.write(caller.project) as tx:
        rows = await sessions_of(tx.connection, tx.project.id, caller.user_id, lock=True)
        await delete_sessions(tx, caller.user_id)
        for row in rows:
            if row["id"] == caller.session_id:
                announce_session(tx, row, "delete")
        await record(tx, request, caller.user_id, "session.delete")
    response = respond(None)
    clear_session(response, request, caller.project.id)
    return response


def _pick(rows: Sequence[RowMapping], session_id: str, caller: Caller) -> RowMapping:
    wanted = caller.session_id if session_id == CURRENT else session_id
    row = next((each for each in rows if each["id"] == wanted), None)
    if row is None:
        raise refuse(Problem.USER_SESSION_NOT_FOUND)
    return row


def _shown_value(request: Request, caller: Caller) -> str:
    """Return the session's value that the request was made with; empty when it was made with a token."""
    credentials = read_credentials(request.headers.items(), caller.project.id)
    return next((value for value in credentials.sessions if decode_session(value) is not None), "")
