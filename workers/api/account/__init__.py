"""The account service: what people do to themselves, from signing up to second factors."""

from workers.api.account import (
    activity,
    authenticators,
    challenges,
    factors,
    jwts,
    logins,
    profile,
    recovery,
    sessions,
    targets,
    tokens,
    verification,
)
from workers.api.dispatch import joined

__all__ = ["router"]

router = joined(
    profile.router,
    logins.router,
    sessions.router,
    tokens.router,
    verification.router,
    recovery.router,
    jwts.router,
    factors.router,
    authenticators.router,
    challenges.router,
    targets.router,
    activity.router,
)
