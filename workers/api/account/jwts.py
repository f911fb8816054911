"""Routes of JSON Web Tokens: short-lived proofs of a session, for other servers (wire specification 10.5)."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from realtime.hub.handshake import read_credentials
from workers.api.account.signed_in import SignedIn
from workers.api.params import Body
from workers.api.people.jwts import DEFAULT_DURATION_S, MAX_DURATION_S, sign_jwt
from workers.api.problems import Problem, refuse
from workers.api.rates import rate_limit
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.models.sessions import Jwt

router = APIRouter(tags=["account"])

_LIMITS = [Depends(rate_limit(limit=100, window_s=60, by=("user", "url")))]


class JwtRequest(Body):
    """How long the token is valid, in seconds."""

    duration: Annotated[int, Field(ge=0, le=MAX_DURATION_S)] = DEFAULT_DURATION_S


@router.post(
    "/v1/account/jwts",
    response_model=None,
    responses=documented(Jwt, 201),
    operation_id="accountCreateJWT",
    dependencies=_LIMITS,
)
@router.post(
    "/v1/account/jwt",
    response_model=None,
    responses=documented(Jwt, 201),
    include_in_schema=False,
    dependencies=_LIMITS,
)
async def create_jwt(request: Request, caller: SignedIn, body: JwtRequest | None = None) -> Response:
    """Make a token that stands for the current session, as long as both last. A token makes no further ones."""
    shown = read_credentials(request.headers.items(), caller.project.id)
    if shown.jwt or not caller.session_id:
        raise refuse(Problem.USER_SESSION_NOT_FOUND)
    duration_s = (body or JwtRequest()).duration
    token = sign_jwt(
        services_of(request).settings,
        caller.project.id,
        caller.user_id,
        session_id=caller.session_id,
        duration_s=duration_s,
    )
    return respond({"jwt": token}, 201)
