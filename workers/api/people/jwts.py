"""JSON Web Tokens that stand for a user, for servers that act on somebody's behalf (wire specification 10.5)."""

import time
from typing import Any

from realtime.identity.jwt import mint
from realtime.settings import Settings
from workers.api.problems import Problem, refuse

DEFAULT_DURATION_S = 900

MAX_DURATION_S = 3600


def sign_jwt(
    settings: Settings,
    project_id: str,
    user_id: str,
    *,
    session_id: str = "",
    duration_s: int,
    depth: int = 0,
) -> str:
    """Return a token that stands for a user.

    Args:
        settings: say what it is signed with.
        project_id: the only project that it is good in: users of two projects may have the same ID.
        user_id: the user.
        session_id: the session whose end is also the token's; empty for none.
        duration_s: for how long it is good, in seconds.
        depth: how many functions, one setting off the next, led to it: what is done with it goes on with their chain.

    Raises:
        ApiError: 501 ``general_not_implemented``, when the server has no secret to sign it with.
    """
    if not settings.secrets:
        raise refuse(Problem.TOKENS_DISABLED)
    issued_at = int(time.time())
    claims: dict[str, Any] = {
        "userId": user_id,
        "sessionId": session_id,
        "project": project_id,
        "iat": issued_at,
        "exp": issued_at + duration_s,
    }
    if depth:
        claims["depth"] = depth
    return mint(claims, settings.secrets[-1])
