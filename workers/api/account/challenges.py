"""Routes of challenges: the question for a second factor, and the answer that completes a session."""

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import Field
from sqlalchemy import RowMapping, delete, insert, select, update
from starlette.requests import Request
from starlette.responses import Response

from realtime.events.event import Event
from realtime.identity.secrets import hash_secret, verify_secret
from workers.api.access import Caller
from workers.api.account.authenticators import Otp, use_otp
from workers.api.account.factors import add_factors
from workers.api.account.mailed import CODE_LIFETIME_S, compose, new_code
from workers.api.account.signed_in import HalfSignedIn
from workers.api.mail import send_later
from workers.api.params import MAX_ID_CHARS, Body
from workers.api.people.logs import record
from workers.api.people.sessions import announce_session
from workers.api.people.users import require_user
from workers.api.problems import Problem, refuse
from workers.api.rates import rate_limit
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.models.mfa import MfaChallenge, challenge_model, factors_model
from workers.models.people import Row
from workers.models.sessions import Session, session_model
from workers.store.ids import new_id
from workers.store.store import Transaction
from workers.store.tables import challenges, users
from workers.store.times import to_text

router = APIRouter(tags=["account"])

MAX_ATTEMPTS = 5
"""How often a challenge may be answered wrongly; then it is void."""

Factor = Literal["email", "phone", "totp", "recoverycode"]


class NewChallenge(Body):
    """The factor to be asked for."""

    factor: Factor


class ChallengeAnswer(Body):
    """A challenge, and its answer: a code."""

    challengeId: Annotated[str, Field(max_length=MAX_ID_CHARS)]
    otp: Otp


@router.post(
    "/v1/account/mfa/challenges",
    response_model=None,
    responses=documented(MfaChallenge, 201),
    operation_id="accountCreateMFAChallenge",
    dependencies=[Depends(rate_limit(limit=10, window_s=300, by=("user", "url")))],
)
@router.post(
    "/v1/account/mfa/challenge",
    response_model=None,
    include_in_schema=False,
    dependencies=[Depends(rate_limit(limit=10, window_s=300, by=("user", "url")))],
)
async def create_challenge(request: Request, body: NewChallenge, caller: HalfSignedIn) -> Response:
    """Ask for a second factor; for ``email``, a code is mailed. A session has one challenge at a time."""
    code = new_code() if body.factor == "email" else ""
    async with services_of(request).store.write(caller.project) as tx:
        user = await require_user(tx.connection, tx.project.id, caller.user_id, lock=True)
        _require_factor(user, body.factor)
        row = await _insert(tx, caller, body.factor, code)
        _emit(tx, row, "create")
        await record(tx, request, user["id"], "challenge.create")
    response = respond(challenge_model(row), 201)
    if code:
        text = [f"Your code to complete the login is {code}. It can be used once, within 15 minutes."]
        mail = compose(user, caller.project.name, f"{code} is your code for {caller.project.name}", text)
        response.background = send_later(services_of(request).mailer, mail)
    return response


@router.put(
    "/v1/account/mfa/challenges",
    response_model=None,
    responses=documented(Session),
    operation_id="accountUpdateMFAChallenge",
    dependencies=[Depends(rate_limit(limit=10, window_s=60, by=("user", "url")))],
)
@router.put(
    "/v1/account/mfa/challenge",
    response_model=None,
    include_in_schema=False,
    dependencies=[Depends(rate_limit(limit=10, window_s=60, by=("user", "url")))],
)
async def answer_challenge(request: Request, body: ChallengeAnswer, caller: HalfSignedIn) -> Response:
    """Show the second factor. The session is complete then."""
    session = None
    async with services_of(request).store.write(caller.project) as tx:
        user = await require_user(tx.connection, tx.project.id, caller.user_id, lock=True)
        challenge = await _find(tx, caller, body.challengeId)
        if challenge is not None and await _is_answer(tx, user, challenge, body.otp):
            await tx.connection.execute(delete(challenges).where(challenges.c.seq == challenge["seq"]))
            session = await add_factors(tx, caller, challenge["factor"])
            if session is not None:
                announce_session(tx, session, "update")
                await record(tx, request, user["id"], "session.update")
        elif challenge is not None:
            await _count_attempt(tx, challenge)
    # After the change, so that the attempt is counted.
    if session is None:
        raise refuse(Problem.USER_TOKEN)
    return respond(session_model(session, current_id=caller.session_id))


def _require_factor(user: Row, factor: Factor) -> None:
    available = factors_model(user)
    match factor:
        case "phone":
            raise refuse(Problem.PHONE_DISABLED)
        case "totp" if not available["totp"]:
            raise refuse(Problem.AUTHENTICATOR_NOT_FOUND)
        case "recoverycode" if not available["recoveryCode"]:
            raise refuse(Problem.RECOVERY_CODES_NOT_FOUND)
        case "email" if not user["email"]:
            raise refuse(Problem.USER_EMAIL_NOT_FOUND)
        case "email" if not available["email"]:
            raise refuse(Problem.USER_EMAIL_NOT_VERIFIED)


async def _insert(tx: Transaction, caller: Caller, factor: str, code: str) -> RowMapping:
    earlier = (challenges.c.session_id == caller.session_id) | (challenges.c.expires_at <= tx.now_text)
    await tx.connection.execute(
        delete(challenges).where(
            challenges.c.project_id == tx.project.id, challenges.c.user_id == caller.user_id, earlier
        )
    )
    made = await tx.connection.execute(
        insert(challenges)
        .values(
            project_id=tx.project.id,
            id=new_id(),
            user_id=caller.user_id,
            session_id=caller.session_id,
            factor=factor,
            secret_hash=hash_secret(code) if code else "",
            expires_at=to_text(tx.now + timedelta(seconds=CODE_LIFETIME_S)),
            created_at=tx.now_text,
            updated_at=tx.now_text,
        )
        .returning(challenges)
    )
    row: RowMapping = made.mappings().one()
    return row


async def _find(tx: Transaction, caller: Caller, challenge_id: str) -> RowMapping | None:
    found = await tx.connection.execute(
        select(challenges).where(
            challenges.c.project_id == tx.project.id,
            challenges.c.user_id == caller.user_id,
            challenges.c.session_id == caller.session_id,
            challenges.c.id == challenge_id,
            challenges.c.expires_at > tx.now_text,
        )
    )
    return found.mappings().one_or_none()


async def _is_answer(tx: Transaction, user: Row, challenge: Row, otp: str) -> bool:
    match challenge["factor"]:
        case "totp":
            return bool(user["totp_secret"]) and await use_otp(tx, user, otp)
        case "recoverycode":
            return await _use_recovery_code(tx, user, otp)
        case _:
            return verify_secret(otp, challenge["secret_hash"])


async def _use_recovery_code(tx: Transaction, user: Row, code: str) -> bool:
    stored: list[str] = user["mfa_recovery_codes"]
    used = next((each for each in stored if verify_secret(code, each)), None)
    if used is None:
        return False
    left = [each for each in stored if each != used]
    await tx.connection.execute(
        update(users).where(users.c.seq == user["seq"]).values(mfa_recovery_codes=left)
    )
    return True


async def _count_attempt(tx: Transaction, challenge: Row) -> None:
    this = challenges.c.seq == challenge["seq"]
    await tx.connection.execute(update(challenges).where(this).values(attempts=challenges.c.attempts + 1))
    await tx.connection.execute(delete(challenges).where(this, challenges.c.attempts >= MAX_ATTEMPTS))


def _emit(tx: Transaction, row: Row, action: str) -> None:
    tx.emit(
        Event(
            f"users.[userId].challenges.[challengeId].{action}",
            challenge_model(row),
            params={"userId": row["user_id"], "challengeId": row["id"]},
        )
    )
