"""Routes of the authenticator: an app that shows a new code every half minute (TOTP, RFC 6238)."""

import hmac
from typing import Annotated, Literal

import pyotp
from fastapi import APIRouter, Depends, Path
from pydantic import Field
from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import Response

from workers.api.account.factors import add_factors, require_recent_challenge
from workers.api.account.signed_in import SignedIn, show_account
from workers.api.params import Body
from workers.api.people.logs import record
from workers.api.people.tokens import create_token
from workers.api.people.users import require_user, update_user
from workers.api.problems import Problem, refuse
from workers.api.rates import rate_limit
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.models.mfa import MfaType
from workers.models.people import Account, Row, account_model
from workers.store.store import Transaction
from workers.store.tables import tokens

router = APIRouter(tags=["account"])

WINDOW = 1
"""By how many codes the clock of an authenticator may be off, either way (RFC 6238 section 5.2)."""

AuthenticatorType = Annotated[Literal["totp"], Path(alias="type")]
Otp = Annotated[str, Field(max_length=64, description="The code.")]

_PATH = "/v1/account/mfa/authenticators/{type}"


class OtpProof(Body):
    """A code that the authenticator shows."""

    otp: Otp


@router.post(
    _PATH, response_model=None, responses=documented(MfaType), operation_id="accountCreateMFAAuthenticator"
)
async def create_authenticator(request: Request, _kind: AuthenticatorType, caller: SignedIn) -> Response:
    """Make the secret of an authenticator, which counts once a code of it was shown."""
    secret = pyotp.random_base32()
    async with services_of(request).store.write(caller.project) as tx:
        row = await require_user(tx.connection, tx.project.id, caller.user_id, lock=True)
        if row["totp_verified"]:
            raise refuse(Problem.AUTHENTICATOR_VERIFIED)
        await update_user(tx, row, {"totp_secret": secret}, attribute="mfa", show=account_model)
        await record(tx, request, row["id"], "user.update")
    issuer = caller.project.name or caller.project.id
    uri = pyotp.TOTP(secret).provisioning_uri(name=row["email"] or row["id"], issuer_name=issuer)
    return respond({"secret": secret, "uri": uri})


@router.put(
    _PATH,
    response_model=None,
    responses=documented(Account),
    operation_id="accountUpdateMFAAuthenticator",
    dependencies=[Depends(rate_limit(limit=10, window_s=60, by=("user", "url")))],
)
async def verify_authenticator(
    request: Request, _kind: AuthenticatorType, body: OtpProof, caller: SignedIn
) -> Response:
    """Take the first code: the authenticator is a second factor from now on."""
    async with services_of(request).store.write(caller.project) as tx:
        row = await require_user(tx.connection, tx.project.id, caller.user_id, lock=True)
        if row["totp_secret"] is None:
            raise refuse(Problem.AUTHENTICATOR_NOT_FOUND)
        if row["totp_verified"]:
            raise refuse(Problem.AUTHENTICATOR_VERIFIED)
        if _matching_step(row["totp_secret"], body.otp, tx.now.timestamp()) is None:
            raise refuse(Problem.USER_TOKEN)
        await add_factors(tx, caller, "totp")
        updated = await update_user(tx, row, {"totp_verified": True}, attribute="mfa", show=account_model)
        await record(tx, request, row["id"], "user.update")
        account = await show_account(tx.connection, updated, caller)
    return respond(account)


@router.delete(
    _PATH, response_model=None, responses=documented(None), operation_id="accountDeleteMFAAuthenticator"
)
async def delete_authenticator(request: Request, _kind: AuthenticatorType, caller: SignedIn) -> Response:
    """Forget the authenticator; after a challenge, if it is a second factor already."""
    async with services_of(request).store.write(caller.project) as tx:
        row = await require_user(tx.connection, tx.project.id, caller.user_id, lock=True)
        if row["totp_secret"] is None:
            raise refuse(Problem.AUTHENTICATOR_NOT_FOUND)
        if row["totp_verified"]:
            await require_recent_challenge(tx.connection, caller)
        forgotten = {"totp_secret": None, "totp_verified": False}
        await update_user(tx, row, forgotten, attribute="mfa", show=account_model)
        await record(tx, request, row["id"], "user.update")
    return respond(None)


async def use_otp(tx: Transaction, user: Row, otp: str) -> bool:
    """Tell whether ``otp`` is a code that the user's authenticator shows now; it is good once (RFC 6238 section 5.2).

    The row of ``user`` must be locked.
    """
    step = _matching_step(user["totp_secret"], otp, tx.now.timestamp())
    if step is None:
        return False
    # A token that nobody knows the secret of holds the code's place until it has run out.
    token_id = f"totp-{user['id']}-{step}"
    used = await tx.connection.execute(
        select(tokens.c.seq).where(tokens.c.project_id == tx.project.id, tokens.c.id == token_id)
    )
    if used.first() is not None:
        return False
    lifetime_s = (2 * WINDOW + 1) * pyotp.TOTP(user["totp_secret"]).interval
    await create_token(tx, user["id"], "totp", lifetime_s=lifetime_s, token_id=token_id)
    return True


def _matching_step(secret: str, otp: str, now: float) -> int | None:
    totp = pyotp.TOTP(secret)
    current = int(now) // totp.interval
    for step in range(current - WINDOW, current + WINDOW + 1):
        if hmac.compare_digest(totp.generate_otp(step).encode(), otp.encode()):
            return step
    return None
