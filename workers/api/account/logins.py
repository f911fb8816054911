"""Routes that begin a session: by password, anonymously, and by a secret that came by mail or from a server."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import Field
from sqlalchemy import RowMapping
from starlette.requests import Request
from starlette.responses import Response

from realtime.identity.secrets import encode_session
from workers.api.access import Caller
from workers.api.account.profile import PresentPassword, require_room
from workers.api.account.signed_in import Anybody, refuse_second_session
from workers.api.params import MAX_ID_CHARS, Body
from workers.api.people.cookies import set_session
from workers.api.people.fields import Email
from workers.api.people.logs import record
from workers.api.people.passwords import hash_password, needs_rehash, verify_password
from workers.api.people.proofs import prove_address
from workers.api.people.sessions import (
    create_session,
)
from workers.api.people.tokens import use_token
from workers.api.people.users import create_user, find_user, find_user_by_email, rehash
from workers.api.problems import Problem, refuse
from workers.api.rates import rate_limit
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.models.people import Row, account_model
from workers.models.sessions import Session, session_model
from workers.store.ids import new_id
from workers.store.store import Transaction

router = APIRouter(tags=["account"])

# Of each kind of token that logs somebody in: the session's provider, and the factor that it proves.
_LOGINS = {
    "magic-url": ("magic-url", "email"),
    "email": ("email", "email"),
    "phone": ("phone", "phone"),
    "generic": ("token", "token"),
}


class EmailLogin(Body):
    """An e-mail address and its password."""

    email: Email
    password: PresentPassword


class TokenLogin(Body):
    """A user, and the secret of a token that was made for them."""

    userId: Annotated[str, Field(max_length=MAX_ID_CHARS)]
    secret: Annotated[str, Field(max_length=256)]


@router.post(
    "/v1/account/sessions/email",
    response_model=None,
    responses=documented(Session, 201),
    operation_id="accountCreateEmailPasswordSession",
    dependencies=[
        Depends(rate_limit(limit=10, window_s=60, by=("ip", "email", "url"))),
        # One address that tries many accounts; the people behind one router are a few.
        Depends(rate_limit(limit=100, window_s=60, by=("ip", "url"))),
    ],
)
async def create_email_session(request: Request, body: EmailLogin, caller: Anybody) -> Response:
    """Log in by password. An unknown address and a wrong password are told in the same words and time."""
    refuse_second_session(caller)
    services = services_of(request)
    async with services.store.read() as connection:
        user = await find_user_by_email(connection, caller.project.id, body.email)
    if not await verify_password(body.password, user) or user is None:
        raise refuse(Problem.USER_CREDENTIALS)
    new_hash = await hash_password(body.password) if needs_rehash(user) else None
    async with services.store.write(caller.project) as tx:
        row = await find_user(tx.connection, tx.project.id, user["id"], lock=True)
        if row is None or row["password_hash"] != user["password_hash"]:
            raise refuse(Problem.USER_CREDENTIALS)
        if new_hash is not None:
            await rehash(tx, row, new_hash)
        begun = await _begin(tx, request, row, provider="email", factors=["password"])
    return _welcome(request, caller, *begun)


@router.post(
    "/v1/account/sessions/anonymous",
    response_model=None,
    responses=documented(Session, 201),
    operation_id="accountCreateAnonymousSession",
    dependencies=[Depends(rate_limit(limit=50, window_s=3600, by=("ip", "url")))],
)
async def create_anonymous_session(request: Request, caller: Anybody) -> Response:
    """Make an account without a name or address, and log it in."""
    refuse_second_session(caller)
    services = services_of(request)
    async with services.store.write(caller.project) as tx:
        await require_room(tx, services)
        user = await create_user(tx, user_id=new_id(), show=account_model)
        begun = await _begin(tx, request, user, provider="anonymous", factors=["anonymous"])
    return _welcome(request, caller, *begun)


@router.post(
    "/v1/account/sessions/token",
    response_model=None,
    responses=documented(Session, 201),
    operation_id="accountCreateSession",
    dependencies=[Depends(rate_limit(limit=10, window_s=60, by=("ip", "url")))],
)
@router.put(
    "/v1/account/sessions/magic-url",
    response_model=None,
    responses=documented(Session, 201),
    operation_id="accountUpdateMagicURLSession",
    dependencies=[Depends(rate_limit(limit=10, window_s=60, by=("ip", "url")))],
)
@router.put(
    "/v1/account/sessions/phone",
    response_model=None,
    responses=documented(Session, 201),
    operation_id="accountUpdatePhoneSession",
    dependencies=[Depends(rate_limit(limit=10, window_s=60, by=("ip", "url")))],
)
async def create_token_session(request: Request, body: TokenLogin, caller: Anybody) -> Response:
    """Log in by a secret that came by mail, or that a server made. One that came by mail verifies the address.

    The first one voids the password and the sessions from before: who signed up need not have been its owner.
    """
    refuse_second_session(caller)
    begun = None
    async with services_of(request).store.write(caller.project) as tx:
        user = await find_user(tx.connection, tx.project.id, body.userId, lock=True)
        token = await use_token(tx, body.userId, _LOGINS, body.secret)
        if user is not None and token is not None:
            provider, factor = _LOGINS[token["kind"]]
            if factor == "email":
                user = await prove_address(tx, user, show=account_model)
            begun = await _begin(tx, request, user, provider=provider, factors=[factor])
    if begun is None:
        raise refuse(Problem.USER_TOKEN)
    return _welcome(request, caller, *begun)


@router.get(
    "/v1/account/sessions/oauth2/{provider}", response_model=None, operation_id="accountCreateOAuth2Session"
)
@router.get(
    "/v1/account/tokens/oauth2/{provider}", response_model=None, operation_id="accountCreateOAuth2Token"
)
async def create_oauth2_session(
    _provider: Annotated[str, Path(alias="provider")], _caller: Anybody
) -> Response:
    """Refuse: no OAuth2 provider is configured."""
    raise refuse(Problem.PROVIDER_DISABLED)


async def _begin(
    tx: Transaction, request: Request, user: Row, *, provider: str, factors: Sequence[str]
) -> tuple[RowMapping, str]:
    """Begin a session of somebody who has proved to be ``user``, unless they are blocked."""
    if not user["status"]:
        raise refuse(Problem.USER_BLOCKED)
    row, secret = await create_session(tx, request, user, provider=provider, factors=factors)
    await record(tx, request, user["id"], "session.create")
    return row, secret


def _welcome(request: Request, caller: Caller, row: Row, secret: str) -> Response:
    """Return the answer to a login. Servers read the secret in it; browsers get cookies that scripts cannot read."""
    value = encode_session(row["user_id"], secret)
    if caller.is_privileged:
        return respond(session_model(row, current_id=row["id"], secret=value), 201)
    response = respond(session_model(row, current_id=row["id"]), 201)
    set_session(response, request, caller.project.id, value, row["expires_at"])
    return response
