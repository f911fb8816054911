"""Routes that mail a link or a code to log in with; both sign up whoever is new."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field
from sqlalchemy import RowMapping
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import Caller
from workers.api.account.mailed import (
    CODE_LIFETIME_S,
    MAGIC_URL_LIFETIME_S,
    compose,
    emit_token,
    link_to,
    new_code,
    new_phrase,
)
from workers.api.account.profile import require_room
from workers.api.account.signed_in import Anybody
from workers.api.errors import ApiError
from workers.api.mail import Mail, send_later
from workers.api.params import Body, CustomId
from workers.api.people.fields import Email
from workers.api.people.links import LinkUrl, check_link
from workers.api.people.logs import record
from workers.api.people.tokens import create_token
from workers.api.people.users import create_user, find_user_by_email
from workers.api.problems import Problem, refuse
from workers.api.rates import rate_limit
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.models.people import Row, account_model
from workers.models.sessions import Token, token_model
from workers.store.ids import choose_id
from workers.store.store import Transaction

router = APIRouter(tags=["account"])

_LIMITS = [
    Depends(rate_limit(limit=60, window_s=3600, by=("email", "url"))),
    Depends(rate_limit(limit=60, window_s=3600, by=("ip", "url"))),
]


class CodeRequest(Body):
    """Whom to mail a code; the ID is for whoever is new."""

    userId: CustomId
    email: Email
    phrase: bool = False


class LinkRequest(CodeRequest):
    """Whom to mail a link, and the page that it leads to; by default the start page of the app that asks."""

    url: LinkUrl = ""


class PhoneRequest(Body):
    """Whom to send a text message."""

    userId: CustomId
    phone: Annotated[str, Field(max_length=32)]


@router.post(
    "/v1/account/tokens/magic-url",
    response_model=None,
    responses=documented(Token, 201),
    operation_id="accountCreateMagicURLToken",
    dependencies=_LIMITS,
)
async def create_magic_url_token(request: Request, body: LinkRequest, caller: Anybody) -> Response:
    """Mail a link that logs in; it is valid for an hour."""
    url = body.url or request.headers.get("Origin", "")
    check_link(url, caller.project, services_of(request).settings)
    phrase = new_phrase() if body.phrase else ""
    async with services_of(request).store.write(caller.project) as tx:
        user = await _addressee(tx, request, body)
        token, secret = await create_token(tx, user["id"], "magic-url", lifetime_s=MAGIC_URL_LIFETIME_S)
        await _note(tx, request, token)
    link = link_to(url, token, secret)
    text = ["Follow this link to log in. It can be used once, within an hour.", link]
    mail = compose(user, caller.project.name, f"{caller.project.name} login", text, phrase)
    return _answer(request, caller, user, token, mail, secret=secret, phrase=phrase)


@router.post(
    "/v1/account/tokens/email",
    response_model=None,
    responses=documented(Token, 201),
    operation_id="accountCreateEmailToken",
    dependencies=_LIMITS,
)
async def create_email_token(request: Request, body: CodeRequest, caller: Anybody) -> Response:
    """Mail a code of six digits that logs in; it is valid for a quarter of an hour."""
    phrase = new_phrase() if body.phrase else ""
    async with services_of(request).store.write(caller.project) as tx:
        user = await _addressee(tx, request, body)
        token, code = await create_token(
            tx, user["id"], "email", lifetime_s=CODE_LIFETIME_S, secret=new_code()
        )
        await _note(tx, request, token)
    text = [f"Your code to log in is {code}. It can be used once, within 15 minutes."]
    mail = compose(user, caller.project.name, f"{code} is your code for {caller.project.name}", text, phrase)
    return _answer(request, caller, user, token, mail, secret=code, phrase=phrase)


@router.post(
    "/v1/account/tokens/phone",
    response_model=None,
    responses=documented(Token, 201),
    operation_id="accountCreatePhoneToken",
)
async def create_phone_token(_body: PhoneRequest, _caller: Anybody) -> Response:
    """Refuse: nothing here sends text messages."""
    raise refuse(Problem.PHONE_DISABLED)


async def _addressee(tx: Transaction, request: Request, body: CodeRequest) -> RowMapping:
    """Return the user with the address, made if there is none."""
    user = await find_user_by_email(tx.connection, tx.project.id, body.email)
    if user is not None:
        return user
    await require_room(tx, services_of(request))
    try:
        async with tx.connection.begin_nested():
            user = await create_user(tx, user_id=choose_id(body.userId), email=body.email, show=account_model)
    except ApiError:
        # Somebody else may have asked for the same address at the same time.
        made = await find_user_by_email(tx.connection, tx.project.id, body.email)
        if made is None:
            raise
        return made
    await record(tx, request, user["id"], "user.create")
    return user


async def _note(tx: Transaction, request: Request, token: Row) -> None:
    emit_token(tx, token, "tokens", "tokenId", "create")
    await record(tx, request, token["user_id"], "token.create")


def _answer(
    request: Request, caller: Caller, user: Row, token: Row, mail: Mail, *, secret: str, phrase: str
) -> Response:
    model = token_model(token, secret=secret if caller.is_privileged else "", phrase=phrase)
    response = respond(model, 201)
    # Somebody blocked gets no mail, and the answer that everybody gets.
    if user["status"]:
        response.background = send_later(services_of(request).mailer, mail)
    return response
