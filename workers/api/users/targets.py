"""Routes of a user's targets."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import Field as Bounds
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from workers.api.errors import bad_request
from workers.api.listing import ListParams, list_params
from workers.api.params import Body, CustomId
from workers.api.people.fields import Email, Phone
from workers.api.people.targets import create_target, delete_target, require_target, update_target
from workers.api.people.users import require_user
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.api.users.access import TargetReader, TargetWriter, UserId
from workers.models.people import Target, target_model
from workers.models.users import TargetList
from workers.store.fields import Field
from workers.store.ids import choose_id
from workers.store.pages import fetch_page
from workers.store.tables import targets

router = APIRouter(tags=["users"])

FIELDS = {
    "$id": Field(targets.c.id, "id"),
    "$createdAt": Field(targets.c.created_at, "datetime"),
    "$updatedAt": Field(targets.c.updated_at, "datetime"),
    "userId": Field(targets.c.user_id, "id"),
    "providerId": Field(targets.c.provider_id, "id"),
    "identifier": Field(targets.c.identifier, "string"),
    "providerType": Field(targets.c.provider_type, "string"),
}
"""What targets are listed by."""

Identifier = Annotated[str, Bounds(min_length=1, max_length=2048)]
ProviderId = Annotated[str, Bounds(max_length=36)]
TargetName = Annotated[str, Bounds(max_length=128)]

# How addresses are checked that are used by more than one provider; tokens of devices are the providers' business.
_ADDRESSES: dict[str, TypeAdapter[str]] = {"email": TypeAdapter(Email), "sms": TypeAdapter(Phone)}


class NewTarget(Body):
    """A target to be made."""

    targetId: CustomId
    providerType: Literal["email", "sms", "push"]
    identifier: Identifier
    providerId: ProviderId = ""
    name: TargetName = ""


class TargetChanges(Body):
    """What of a target is to change; what is left out stays."""

    identifier: Annotated[str, Bounds(max_length=2048)] = ""
    providerId: ProviderId = ""
    name: TargetName | None = None


@router.get(
    "/v1/users/{userId}/targets",
    response_model=None,
    responses=documented(TargetList),
    operation_id="usersListTargets",
)
async def list_targets(
    request: Request,
    userId: UserId,
    caller: TargetReader,
    params: Annotated[ListParams, Depends(list_params)],
) -> Response:
    """List a user's targets."""
    query = params.query(FIELDS)
    where = [targets.c.project_id == caller.project.id, targets.c.user_id == userId]
    async with services_of(request).store.read() as connection:
        await require_user(connection, caller.project.id, userId)
        page = await fetch_page(connection, targets, FIELDS, query, where=where, count=params.total)
    return respond({"total": page.total, "targets": [target_model(row) for row in page.rows]})


@router.post(
    "/v1/users/{userId}/targets",
    response_model=None,
    responses=documented(Target, 201),
    operation_id="usersCreateTarget",
)
async def create(request: Request, userId: UserId, body: NewTarget, caller: TargetWriter) -> Response:
    """Make a target for a user."""
    identifier = _check_identifier(body.providerType, body.identifier)
    async with services_of(request).store.write(caller.project) as tx:
        # Locked, so that nothing is left behind of a user who is deleted at the same time.
        await require_user(tx.connection, caller.project.id, userId, lock=True)
        row = await create_target(
            tx,
            target_id=choose_id(body.targetId),
            user_id=userId,
            provider_type=body.providerType,
            identifier=identifier,
            provider_id=body.providerId,
            name=body.name,
        )
    return respond(target_model(row), 201)


@router.get(
    "/v1/users/{userId}/targets/{targetId}",
    response_model=None,
    responses=documented(Target),
    operation_id="usersGetTarget",
)
async def get(request: Request, userId: UserId, targetId: str, caller: TargetReader) -> Response:
    """Return a target of a user."""
    async with services_of(request).store.read() as connection:
        await require_user(connection, caller.project.id, userId)
        return respond(target_model(await require_target(connection, caller.project.id, userId, targetId)))


@router.patch(
    "/v1/users/{userId}/targets/{targetId}",
    response_model=None,
    responses=documented(Target),
    operation_id="usersUpdateTarget",
)
async def update(
    request: Request, userId: UserId, targetId: str, body: TargetChanges, caller: TargetWriter
) -> Response:
    """Change a target of a user. A new identifier is one that is reached again."""
    async with services_of(request).store.write(caller.project) as tx:
        await require_user(tx.connection, caller.project.id, userId)
        row = await require_target(tx.connection, caller.project.id, userId, targetId)
        changes: dict[str, object] = {}
        if body.identifier:
            identifier = _check_identifier(row["provider_type"], body.identifier)
            changes |= {"identifier": identifier, "expired": False}
        if body.providerId:
            changes["provider_id"] = body.providerId
        if body.name is not None:
            changes["name"] = body.name
        row = await update_target(tx, row, changes)
    return respond(target_model(row))


@router.delete(
    "/v1/users/{userId}/targets/{targetId}",
    response_model=None,
    responses=documented(None, 204),
    operation_id="usersDeleteTarget",
)
async def delete(request: Request, userId: UserId, targetId: str, caller: TargetWriter) -> Response:
    """Delete a target of a user."""
    async with services_of(request).store.write(caller.project) as tx:
        await require_user(tx.connection, caller.project.id, userId)
        row = await require_target(tx.connection, caller.project.id, userId, targetId)
        await delete_target(tx, row)
    return respond(None)


def _check_identifier(provider_type: str, identifier: str) -> str:
    address = _ADDRESSES.get(provider_type)
    if address is None:
        return identifier
    try:
        return address.validate_python(identifier)
    except ValidationError as error:
        what = "a valid email address" if provider_type == "email" else "a phone number in E.164 form"
        raise bad_request(f"Invalid `identifier` param: Value must be {what}") from error
