"""Routes of second factors: whether one is asked for, which there are, and the recovery codes."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Depends
from sqlalchemy import ColumnElement, RowMapping, and_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import Caller
from workers.api.account.signed_in import HalfSignedIn, SignedIn, show_account
from workers.api.params import Body
from workers.api.people.logs import record
from workers.api.people.recovery_codes import make_codes
from workers.api.people.users import require_user, update_user
from workers.api.problems import Problem, refuse
from workers.api.rates import rate_limit
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.models.mfa import MfaFactors, MfaRecoveryCodes, factors_model
from workers.models.people import Account, account_model
from workers.store.store import Transaction
from workers.store.tables import sessions
from workers.store.times import to_text

router = APIRouter(tags=["account"])

RECENT_S = 300
"""How long a factor that was shown opens what is protected by one, in seconds."""

_CODES_PATH = "/v1/account/mfa/recovery-codes"


class MfaSwitch(Body):
    """Whether logins take a second factor."""

    mfa: bool


@router.patch(
    "/v1/account/mfa", response_model=None, responses=documented(Account), operation_id="accountUpdateMFA"
)
async def update_mfa(request: Request, body: MfaSwitch, caller: SignedIn) -> Response:
    """Say whether logins take a second factor. It is asked for once there is one; the current session goes on.

    To ask no more for one that there is takes a challenge of late.
    """
    async with services_of(request).store.write(caller.project) as tx:
        row = await require_user(tx.connection, tx.project.id, caller.user_id, lock=True)
        factors = factors_model(row)
        if body.mfa:
            await add_factors(
                tx, caller, *(name for name in ("totp", "email") if factors[name]), is_shown=False
            )
        elif row["mfa"] and (factors["totp"] or factors["email"]):
            await require_recent_challenge(tx.connection, caller)
        updated = await update_user(tx, row, {"mfa": body.mfa}, attribute="mfa", show=account_model)
        await record(tx, request, row["id"], "user.update")
        account = await show_account(tx.connection, updated, caller)
    return respond(account)


@router.get(
    "/v1/account/mfa/factors",
    response_model=None,
    responses=documented(MfaFactors),
    operation_id="accountListMFAFactors",
)
async def list_factors(request: Request, caller: HalfSignedIn) -> Response:
    """Tell which second factors there are to be asked for."""
    async with services_of(request).store.read() as connection:
        return respond(factors_model(await require_user(connection, caller.project.id, caller.user_id)))


@router.get(
    _CODES_PATH,
    response_model=None,
    responses=documented(MfaRecoveryCodes),
    operation_id="accountGetMFARecoveryCodes",
)
async def get_recovery_codes(request: Request, caller: SignedIn) -> Response:
    """Tell why the recovery codes cannot be shown: there are none, or they were shown when they were made."""
    async with services_of(request).store.read() as connection:
        row = await require_user(connection, caller.project.id, caller.user_id)
        await require_recent_challenge(connection, caller)
    raise refuse(
        Problem.RECOVERY_CODES_EXIST if row["mfa_recovery_codes"] else Problem.RECOVERY_CODES_NOT_FOUND
    )


@router.post(
    _CODES_PATH,
    response_model=None,
    responses=documented(MfaRecoveryCodes, 201),
    operation_id="accountCreateMFARecoveryCodes",
    dependencies=[Depends(rate_limit(limit=10, window_s=3600, by=("user", "url")))],
)
async def create_recovery_codes(request: Request, caller: SignedIn) -> Response:
    """Make the first recovery codes. They are shown this once."""
    return await _make_codes(request, caller, is_first=True)


@router.patch(
    _CODES_PATH,
    response_model=None,
    responses=documented(MfaRecoveryCodes),
    operation_id="accountUpdateMFARecoveryCodes",
    dependencies=[Depends(rate_limit(limit=10, window_s=3600, by=("user", "url")))],
)
async def update_recovery_codes(request: Request, caller: SignedIn) -> Response:
    """Replace the recovery codes, after a challenge. They are shown this once."""
    return await _make_codes(request, caller, is_first=False)


async def add_factors(
    tx: Transaction, caller: Caller, *factors: str, is_shown: bool = True
) -> RowMapping | None:
    """Note factors of the session that the request was made with.

    Args:
        tx: the change; the hubs are told by the event that the caller emits.
        caller: whose session.
        factors: such as ``totp``; those that it has are not repeated.
        is_shown: whether the person has shown them just now.

    Returns:
        The session as it is now; None for a request without one.
    """
    mine = _own_session(caller)
    found = await tx.connection.execute(select(sessions.c.factors).where(mine).with_for_update())
    present = found.scalar_one_or_none()
    if present is None:
        return None
    shown = {"mfa_updated_at": tx.now_text} if is_shown else {}
    changed = await tx.connection.execute(
        update(sessions)
        .where(mine)
        .values(factors=list(dict.fromkeys([*present, *factors])), updated_at=tx.now_text, **shown)
        .returning(sessions)
    )
    row: RowMapping = changed.mappings().one()
    return row


async def require_recent_challenge(connection: AsyncConnection, caller: Caller) -> None:
    """Refuse a session that showed no second factor of late.

    Raises:
        ApiError: 401 ``user_challenge_required``.
    """
    found = await connection.execute(select(sessions.c.mfa_updated_at).where(_own_session(caller)))
    since = to_text(datetime.now(UTC) - timedelta(seconds=RECENT_S))
    if (found.scalar_one_or_none() or "") < since:
        raise refuse(Problem.CHALLENGE_REQUIRED)


def _own_session(caller: Caller) -> ColumnElement[bool]:
    # Somebody who impersonates has a session, but not one of the user's.
    return and_(
        sessions.c.project_id == caller.project.id,
        sessions.c.user_id == caller.user_id,
        sessions.c.id == caller.session_id,
    )


async def _make_codes(request: Request, caller: Caller, *, is_first: bool) -> Response:
    codes, hashes = make_codes()
    async with services_of(request).store.write(caller.project) as tx:
        row = await require_user(tx.connection, tx.project.id, caller.user_id, lock=True)
        if is_first and row["mfa_recovery_codes"]:
            raise refuse(Problem.RECOVERY_CODES_EXIST)
        if not is_first:
            if not row["mfa_recovery_codes"]:
                raise refuse(Problem.RECOVERY_CODES_NOT_FOUND)
            await require_recent_challenge(tx.connection, caller)
        await update_user(tx, row, {"mfa_recovery_codes": hashes}, attribute="mfa", show=account_model)
        await record(tx, request, row["id"], "user.update")
    return respond({"recoveryCodes": codes}, 201 if is_first else 200)
