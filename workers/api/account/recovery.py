"""Routes that reset a forgotten password: mail a secret, and take it with the new password.

The request is answered before the address is looked up, so that neither words nor time tell whether there is an
account.
"""

from datetime import UTC, datetime, timedelta

import structlog
from fastapi import APIRouter, Depends
from redis.exceptions import RedisError
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from realtime.identity.model import Project
from workers.api.account.mailed import RECOVERY_LIFETIME_S, Proof, compose, emit_token, link_to
from workers.api.account.passwords import make_hash
from workers.api.account.signed_in import Anybody
from workers.api.errors import ApiError
from workers.api.mail import deliver
from workers.api.params import Body
from workers.api.people.fields import Email, Password
from workers.api.people.links import LinkUrl, check_link
from workers.api.people.logs import record
from workers.api.people.passwords import password_changes
from workers.api.people.policies import read_policies
from workers.api.people.sessions import delete_session, sessions_of
from workers.api.people.tokens import PASSWORD_KINDS, create_token, has_token, use_token, void_tokens
from workers.api.people.users import find_user, find_user_by_email
from workers.api.problems import Problem, refuse
from workers.api.rates import rate_limit
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.models.people import Row
from workers.models.sessions import Token, token_model
from workers.store.ids import new_id
from workers.store.store import Transaction
from workers.store.tables import users
from workers.store.times import to_text

router = APIRouter(tags=["account"])

_LOG = structlog.get_logger("realtime.api")


class RecoveryRequest(Body):
    """Whose password to reset, and the page that the link in the mail leads to."""

    email: Email
    url: LinkUrl


class Recovery(Proof):
    """What the link in the mail holds, and the new password."""

    password: Password


@router.post(
    "/v1/account/recovery",
    response_model=None,
    responses=documented(Token, 201),
    operation_id="accountCreateRecovery",
    dependencies=[
        Depends(rate_limit(limit=10, window_s=3600, by=("email", "url"))),
        Depends(rate_limit(limit=10, window_s=3600, by=("ip", "url"))),
    ],
)
async def create_recovery(request: Request, body: RecoveryRequest, caller: Anybody) -> Response:
    """Mail a link to reset the password, valid for an hour, if the address is that of a user.

    Only an API key is told when it is not; for all others ``userId`` is empty, since it would tell.
    """
    check_link(body.url, caller.project, services_of(request).settings)
    token_id = new_id()
    if caller.is_privileged:
        token, secret = await _begin(request, caller.project, body, token_id)
        response = respond(token_model(token, secret=secret), 201)
        response.background = BackgroundTask(_mail, request, caller.project, body, token, secret)
        return response
    now = datetime.now(UTC)
    pretended = {
        "id": token_id,
        "created_at": to_text(now),
        "user_id": "",
        "expires_at": to_text(now + timedelta(seconds=RECOVERY_LIFETIME_S)),
    }
    response = respond(token_model(pretended), 201)
    response.background = BackgroundTask(_begin_unseen, request, caller.project, body, token_id)
    return response


@router.put(
    "/v1/account/recovery",
    response_model=None,
    responses=documented(Token),
    operation_id="accountUpdateRecovery",
    dependencies=[Depends(rate_limit(limit=10, window_s=3600, by=("ip", "url")))],
)
async def confirm_recovery(request: Request, body: Recovery, caller: Anybody) -> Response:
    """Set the new password. Sessions that were begun with the old one end, unless the project keeps them."""
    services = services_of(request)
    async with services.store.read() as connection:
        user = await find_user(connection, caller.project.id, body.userId)
        # Before the rules: whether a password was used before is nobody else's business.
        is_known = await has_token(connection, caller.project.id, body.userId, "recovery", body.secret)
    if user is None or not is_known:
        raise refuse(Problem.USER_TOKEN)
    password_hash = await make_hash(services, user, body.password)
    async with services.store.write(caller.project) as tx:
        row = await find_user(tx.connection, tx.project.id, body.userId, lock=True)
        token = await use_token(tx, body.userId, ("recovery",), body.secret)
        if row is None or token is None:
            raise refuse(Problem.USER_TOKEN)
        await _reset(tx, request, row, password_hash)
        emit_token(tx, token, "recovery", "recoveryId", "update")
        await record(tx, request, row["id"], "recovery.update")
    return respond(token_model(token))


async def _begin(request: Request, project: Project, body: RecoveryRequest, token_id: str) -> tuple[Row, str]:
    """Make the token, and return its row and secret.

    Raises:
        ApiError: 404 ``user_not_found``; 401 ``user_blocked``.
    """
    async with services_of(request).store.write(project) as tx:
        user = await find_user_by_email(tx.connection, project.id, body.email)
        if user is None:
            raise refuse(Problem.USER_NOT_FOUND)
        if not user["status"]:
            raise refuse(Problem.USER_BLOCKED)
        token, secret = await create_token(
            tx, user["id"], "recovery", lifetime_s=RECOVERY_LIFETIME_S, token_id=token_id
        )
        emit_token(tx, token, "recovery", "recoveryId", "create")
        await record(tx, request, user["id"], "recovery.create")
    return token, secret


async def _begin_unseen(request: Request, project: Project, body: RecoveryRequest, token_id: str) -> None:
    """Do after the answer what a reset takes, for whoever may not know whether it was done."""
    try:
        token, secret = await _begin(request, project, body, token_id)
    except ApiError as error:
        _LOG.debug("no mail to reset a password", project=project.id, reason=error.type)
    except (SQLAlchemyError, RedisError, OSError) as error:
        _LOG.warning("a password cannot be reset", project=project.id, error=type(error).__name__)
    else:
        await _mail(request, project, body, token, secret)


async def _mail(request: Request, project: Project, body: RecoveryRequest, token: Row, secret: str) -> None:
    text = ["Follow this link to reset your password, within an hour.", link_to(body.url, token, secret)]
    mail = compose(
        {"name": "", "email": body.email}, project.name, f"{project.name}: reset your password", text
    )
    await deliver(services_of(request).mailer, mail)


async def _reset(tx: Transaction, request: Request, user: Row, password_hash: str) -> None:
    """Give a user the new password. They read the mail to their address, so it is verified, too."""
    policies = await read_policies(tx.connection, tx.project.id, services_of(request).settings)
    changes = password_changes(user, password_hash, policies.stored, tx.now_text)
    verified = {"email_verified": True, "updated_at": tx.now_text}
    await tx.connection.execute(update(users).where(users.c.seq == user["seq"]).values(**changes, **verified))
    await void_tokens(tx, user["id"], PASSWORD_KINDS)
    tx.change_user(user["id"])
    # Who was logged in before anybody proved to own the address need not be the owner.
    if policies.ends_sessions or not user["email_verified"]:
        for session in await sessions_of(tx.connection, tx.project.id, user["id"], lock=True):
            await delete_session(tx, session)
