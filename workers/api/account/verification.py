"""Routes that verify an e-mail address: mail a secret there, and take it back."""

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from workers.api.account.mailed import (
    VERIFICATION_LIFETIME_S,
    Proof,
    compose,
    emit_token,
    link_to,
    verify_email,
)
from workers.api.account.signed_in import Anybody, SignedIn
from workers.api.mail import send_later
from workers.api.params import Body
from workers.api.people.links import LinkUrl, check_link
from workers.api.people.logs import record
from workers.api.people.tokens import create_token, use_token
from workers.api.people.users import find_user, require_user
from workers.api.problems import Problem, refuse
from workers.api.rates import rate_limit
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.models.sessions import Token, token_model

router = APIRouter(tags=["account"])

_LIMITS = [Depends(rate_limit(limit=10, window_s=3600, by=("user", "ip")))]


class VerificationRequest(Body):
    """The page that the link in the mail leads to."""

    url: LinkUrl


@router.post(
    "/v1/account/verifications/email",
    response_model=None,
    responses=documented(Token, 201),
    operation_id="accountCreateEmailVerification",
    dependencies=_LIMITS,
)
@router.post("/v1/account/verification", response_model=None, include_in_schema=False, dependencies=_LIMITS)
async def create_verification(request: Request, body: VerificationRequest, caller: SignedIn) -> Response:
    """Mail a link to the account's address; it is valid for a week."""
    services = services_of(request)
    check_link(body.url, caller.project, services.settings)
    async with services.store.write(caller.project) as tx:
        user = await require_user(tx.connection, tx.project.id, caller.user_id, lock=True)
        if not user["email"]:
            raise refuse(Problem.USER_EMAIL_NOT_FOUND)
        if user["email_verified"]:
            raise refuse(Problem.USER_EMAIL_VERIFIED)
        token, secret = await create_token(tx, user["id"], "verification", lifetime_s=VERIFICATION_LIFETIME_S)
        emit_token(tx, token, "verification", "verificationId", "create")
        await record(tx, request, user["id"], "verification.create")
    name = caller.project.name
    text = ["Follow this link to verify your e-mail address.", link_to(body.url, token, secret)]
    response = respond(token_model(token), 201)
    response.background = send_later(
        services.mailer, compose(user, name, f"{name}: verify your e-mail address", text)
    )
    return response


@router.put(
    "/v1/account/verifications/email",
    response_model=None,
    responses=documented(Token),
    operation_id="accountUpdateEmailVerification",
    dependencies=_LIMITS,
)
@router.put("/v1/account/verification", response_model=None, include_in_schema=False, dependencies=_LIMITS)
async def confirm_verification(request: Request, body: Proof, caller: Anybody) -> Response:
    """Take the secret that the link holds. Whoever has it need not be logged in."""
    async with services_of(request).store.write(caller.project) as tx:
        user = await find_user(tx.connection, tx.project.id, body.userId, lock=True)
        token = await use_token(tx, body.userId, ("verification",), body.secret)
        if user is not None and token is not None:
            await verify_email(tx, user)
            emit_token(tx, token, "verification", "verificationId", "update")
            await record(tx, request, user["id"], "verification.update")
    if token is None:
        raise refuse(Problem.USER_TOKEN)
    return respond(token_model(token))


@router.post(
    "/v1/account/verifications/phone",
    response_model=None,
    responses=documented(Token, 201),
    operation_id="accountCreatePhoneVerification",
)
@router.post("/v1/account/verification/phone", response_model=None, include_in_schema=False)
async def create_phone_verification(_caller: SignedIn) -> Response:
    """Refuse: nothing here sends text messages."""
    raise refuse(Problem.PHONE_DISABLED)


@router.put(
    "/v1/account/verifications/phone",
    response_model=None,
    responses=documented(Token),
    operation_id="accountUpdatePhoneVerification",
)
@router.put("/v1/account/verification/phone", response_model=None, include_in_schema=False)
async def confirm_phone_verification(_body: Proof, _caller: Anybody) -> Response:
    """Refuse: no secret was ever sent."""
    raise refuse(Problem.PHONE_DISABLED)
