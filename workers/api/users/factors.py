"""Routes of a user's second factors."""

from collections.abc import Mapping
from typing import Any, Literal

from fastapi import APIRouter
from sqlalchemy import RowMapping
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import Caller
from workers.api.params import Body
from workers.api.people.recovery_codes import make_codes
from workers.api.people.users import require_user, update_user
from workers.api.problems import Problem, refuse
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.api.users.access import Reader, UserId, Writer, respond_with_user
from workers.models.mfa import MfaFactors, MfaRecoveryCodes, factors_model
from workers.models.users import User, show_user
from workers.store.store import Transaction

router = APIRouter(tags=["users"])

_CODES_PATH = "/v1/users/{userId}/mfa/recovery-codes"


class NewMfa(Body):
    """Whether a second factor is asked for."""

    mfa: bool


@router.patch(
    "/v1/users/{userId}/mfa", response_model=None, responses=documented(User), operation_id="usersUpdateMFA"
)
async def update_mfa(request: Request, userId: UserId, body: NewMfa, caller: Writer) -> Response:
    """Say whether a user is asked for a second factor."""
    async with services_of(request).store.write(caller.project) as tx:
        row = await require_user(tx.connection, caller.project.id, userId, lock=True)
        row = await _update(tx, row, {"mfa": body.mfa})
        return await respond_with_user(tx.connection, caller.project.id, row)


@router.get(
    "/v1/users/{userId}/mfa/factors",
    response_model=None,
    responses=documented(MfaFactors),
    operation_id="usersListMFAFactors",
)
async def list_factors(request: Request, userId: UserId, caller: Reader) -> Response:
    """Tell which second factors a user has."""
    async with services_of(request).store.read() as connection:
        return respond(factors_model(await require_user(connection, caller.project.id, userId)))


@router.get(
    _CODES_PATH,
    response_model=None,
    responses=documented(MfaRecoveryCodes),
    operation_id="usersGetMFARecoveryCodes",
)
async def get_recovery_codes(request: Request, userId: UserId, caller: Reader) -> Response:
    """Tell why a user's recovery codes cannot be shown: there are none, or they were shown when they were made."""
    async with services_of(request).store.read() as connection:
        row = await require_user(connection, caller.project.id, userId)
    has_codes = bool(row["mfa_recovery_codes"])
    raise refuse(Problem.RECOVERY_CODES_EXIST if has_codes else Problem.RECOVERY_CODES_NOT_FOUND)


@router.patch(
    _CODES_PATH,
    response_model=None,
    responses=documented(MfaRecoveryCodes, 201),
    operation_id="usersCreateMFARecoveryCodes",
)
async def create_recovery_codes(request: Request, userId: UserId, caller: Writer) -> Response:
    """Make recovery codes for a user who has none. They are shown this once."""
    return await _make_codes(request, caller, userId, is_first=True)


@router.put(
    _CODES_PATH,
    response_model=None,
    responses=documented(MfaRecoveryCodes),
    operation_id="usersUpdateMFARecoveryCodes",
)
async def update_recovery_codes(request: Request, userId: UserId, caller: Writer) -> Response:
    """Replace the recovery codes of a user who has some. They are shown this once."""
    return await _make_codes(request, caller, userId, is_first=False)


@router.delete(
    "/v1/users/{userId}/mfa/authenticators/{type}",
    response_model=None,
    responses=documented(None, 204),
    operation_id="usersDeleteMFAAuthenticator",
)
async def delete_authenticator(
    request: Request,
    userId: UserId,
    type: Literal["totp"],  # noqa: A002, ARG001 - the name in the API; there is one type
    caller: Writer,
) -> Response:
    """Take a user's authenticator away."""
    async with services_of(request).store.write(caller.project) as tx:
        row = await require_user(tx.connection, caller.project.id, userId, lock=True)
        if row["totp_secret"] is None:
            raise refuse(Problem.AUTHENTICATOR_NOT_FOUND)
        await _update(tx, row, {"totp_secret": None, "totp_verified": False})
    return respond(None)


async def _make_codes(request: Request, caller: Caller, user_id: str, *, is_first: bool) -> Response:
    codes, code_hashes = make_codes()
    async with services_of(request).store.write(caller.project) as tx:
        row = await require_user(tx.connection, caller.project.id, user_id, lock=True)
        if is_first and row["mfa_recovery_codes"]:
            raise refuse(Problem.RECOVERY_CODES_EXIST)
        if not is_first and not row["mfa_recovery_codes"]:
            raise refuse(Problem.RECOVERY_CODES_NOT_FOUND)
        await _update(tx, row, {"mfa_recovery_codes": code_hashes})
    return respond({"recoveryCodes": codes}, 201 if is_first else 200)


async def _update(tx: Transaction, row: RowMapping, changes: Mapping[str, Any]) -> RowMapping:
    return await update_user(tx, row, changes, attribute="mfa", show=show_user)
