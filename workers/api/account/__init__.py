"""The account service: what people do to themselves, from signing up to second factors."""

from fastapi import APIRouter

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

__all__ = ["router"]

router = APIRouter()
for _module in (
    profile,
    logins,
    sessions,
    tokens,
    verification,
    recovery,
    jwts,
    factors,
    authenticators,
    challenges,
    targets,
    activity,
):
    router.include_router(_module.router)
