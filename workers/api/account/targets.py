"""Routes of push targets: the devices by which an account is reached."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field
from sqlalchemy import RowMapping
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import Caller
from workers.api.account.signed_in import SignedIn
from workers.api.params import MAX_ID_CHARS, Body, CustomId
from workers.api.people.agents import agent_of
from workers.api.people.targets import (
    create_target,
    delete_target,
    require_target,
    targets_of,
    update_target,
)
from workers.api.people.users import require_user
from workers.api.problems import Problem, refuse
from workers.api.rates import rate_limit
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.models.people import Target, target_model
from workers.store.ids import choose_id
from workers.store.store import Transaction

router = APIRouter(tags=["account"])

MAX_TARGETS = 100
"""How many targets an account may have, since anybody can make them."""

Identifier = Annotated[str, Field(min_length=1, max_length=2048, description="The token of the device.")]

_LIMITS = [Depends(rate_limit(limit=60, window_s=60, by=("user", "url")))]


class NewPushTarget(Body):
    """A device."""

    targetId: CustomId
    identifier: Identifier
    providerId: Annotated[str, Field(max_length=MAX_ID_CHARS)] = ""


class PushTargetIdentifier(Body):
    """The new token of a device."""

    identifier: Identifier


@router.post(
    "/v1/account/targets/push",
    response_model=None,
    responses=documented(Target, 201),
    operation_id="accountCreatePushTarget",
    dependencies=_LIMITS,
)
async def create_push_target(request: Request, body: NewPushTarget, caller: SignedIn) -> Response:
    """Register the device that this request comes from, by whose name the target goes."""
    agent = agent_of(request)
    async with services_of(request).store.write(caller.project) as tx:
        await require_user(tx.connection, tx.project.id, caller.user_id, lock=True)
        if len(await targets_of(tx.connection, tx.project.id, caller.user_id)) >= MAX_TARGETS:
            raise refuse(
                Problem.ARGUMENT, reason=f"An account has at most {MAX_TARGETS} targets. Delete one first."
            )
        row = await create_target(
            tx,
            target_id=choose_id(body.targetId),
            user_id=caller.user_id,
            provider_type="push",
            identifier=body.identifier,
            provider_id=body.providerId,
            name=" ".join(filter(None, (agent["deviceBrand"], agent["deviceModel"]))),
        )
    return respond(target_model(row), 201)


@router.put(
    "/v1/account/targets/{targetId}/push",
    response_model=None,
    responses=documented(Target),
    operation_id="accountUpdatePushTarget",
    dependencies=_LIMITS,
)
async def update_push_target(
    request: Request, targetId: str, body: PushTargetIdentifier, caller: SignedIn
) -> Response:
    """Change the token of a device."""
    async with services_of(request).store.write(caller.project) as tx:
        row = await update_target(
            tx, await _require(tx, caller, targetId), {"identifier": body.identifier, "expired": False}
        )
    return respond(target_model(row))


@router.delete(
    "/v1/account/targets/{targetId}/push",
    response_model=None,
    responses=documented(None),
    operation_id="accountDeletePushTarget",
    dependencies=_LIMITS,
)
async def delete_push_target(request: Request, targetId: str, caller: SignedIn) -> Response:
    """Forget a device."""
    async with services_of(request).store.write(caller.project) as tx:
        await delete_target(tx, await _require(tx, caller, targetId))
    return respond(None)


async def _require(tx: Transaction, caller: Caller, target_id: str) -> RowMapping:
    row = await require_target(tx.connection, tx.project.id, caller.user_id, target_id)
    if row["provider_type"] != "push":
        raise refuse(Problem.USER_TARGET_NOT_FOUND)
    return row
