"""Routes for single presences: set, read, change, delete."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
import pydantic
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from realtime.errors import PresenceExistsError, PresenceInvalidError
from realtime.presences import model
from realtime.presences.model import Draft, Presence, presence_model
from workers.api.access import Caller, requires
from workers.api.errors import bad_request
from workers.api.granting import grant
from workers.api.params import Body, CustomId, Time, is_resource_id
from workers.api.people.users import require_user
from workers.api.permissions import MAX_PERMISSIONS
from workers.api.problems import Problem, refuse
from workers.api.rates import rate_limit
from workers.api.responses import documented, respond
from workers.api.services import Services, services_of
from workers.models import presences as models
from workers.store.ids import choose_id
from workers.store.times import to_text

router = APIRouter(tags=["presences"])

DEFAULT_LIFETIME = timedelta(minutes=15)

Reader = Annotated[Caller, Depends(requires("presences.read"))]
Writer = Annotated[Caller, Depends(requires("presences.write"))]

_limit_writes = Depends(rate_limit(limit=120, window_s=60, by=("ip", "user", "url")))

Status = Annotated[str, pydantic.Field(min_length=1, max_length=model.MAX_STATUS_CHARS)]
Permissions = Annotated[list[str], pydantic.Field(max_length=MAX_PERMISSIONS)]
UserId = Annotated[
    str | None, pydantic.Field(description="Whose presence it is; for API keys, which have to say so.")
]


class NewPresence(Body):
    """A presence as it is to be, whether there is one or not."""

    status: Status
    userId: UserId = None
    permissions: Permissions | None = None
    expiresAt: Time | None = None
    metadata: dict[str, Any] | None = None


class PresenceChanges(Body):
    """What is to change of a presence."""

    status: Status | None = None
    userId: UserId = None
    permissions: Permissions | None = None
    expiresAt: Time | None = None
    metadata: dict[str, Any] | None = None
    purge: bool = pydantic.Field(False, description="Whether to make cached lists void.")


@router.put(
    "/v1/presences/{presenceId}",
    response_model=None,
    responses=documented(models.Presence),
    operation_id="presencesUpsert",
    dependencies=[_limit_writes],
)
async def upsert_presence(
    request: Request, presenceId: CustomId, body: NewPresence, caller: Writer
) -> Response:
    """Set the presence of the caller, or of the user that an API key names.

    A user has one presence: whoever has one keeps its ID. It ends after fifteen minutes unless ``expiresAt`` says
    otherwise, and no more with the connections that set it.
    """
    services = services_of(request)
    user_id = await _target(services, caller, body.userId)
    _check(services, body)
    draft = Draft(
        presence_id=choose_id(presenceId),
        user_id=user_id,
        status=body.status,
        permissions=_permissions(caller, user_id, body.permissions),
        metadata=body.metadata or {},
        source="rest",
        lifetime=DEFAULT_LIFETIME if body.expiresAt is None else None,
        expires_at=body.expiresAt or "",
    )
    try:
        held = await services.presences.upsert(caller.project.id, draft, by=caller.acting)
    except PresenceExistsError as error:
        raise refuse(Problem.PRESENCE_EXISTS, reason=str(error)) from error
    return respond(presence_model(held.presence))


@router.get(
    "/v1/presences/{presenceId}",
    response_model=None,
    responses=documented(models.Presence),
    operation_id="presencesGet",
)
async def get_presence(request: Request, presenceId: str, caller: Reader) -> Response:
    """Return a presence that the caller may read."""
    presence = None
    if is_resource_id(presenceId):
        presence = await services_of(request).presences.get(caller.project.id, presenceId)
    if presence is None:
        raise refuse(Problem.PRESENCE_NOT_FOUND)
    _require(caller, presence, "read")
    return respond(presence_model(presence))


@router.patch(
    "/v1/presences/{presenceId}",
    response_model=None,
    responses=documented(models.Presence),
    operation_id="presencesUpdate",
    dependencies=[_limit_writes],
)
async def update_presence(
    request: Request, presenceId: str, body: PresenceChanges, caller: Writer
) -> Response:
    """Change members of a presence; the rest stays, and so does who holds it. ``purge`` makes cached lists void.

    With another user it leaves the connections that hold it, and ends as one that was set here.
    """
    services = services_of(request)
    changes = await _changes(services, caller, body)

    def change(presence: Presence) -> Presence | None:
        _require(caller, presence, "update")
        if not changes or changes == {"user_id": presence.user_id}:
            return None
        changed = msgspec.structs.replace(presence, **changes)
        is_left_behind = changed.user_id != presence.user_id and presence.source == "realtime"
        return _let_go(changed, until=body.expiresAt) if is_left_behind else changed

    presence = None
    if is_resource_id(presenceId):
        try:
            presence = await services.presences.update(
                caller.project.id, presenceId, change, by=caller.acting
            )
        except PresenceExistsError as error:
            raise refuse(Problem.PRESENCE_EXISTS, reason=str(error)) from error
    if presence is None:
        raise refuse(Problem.PRESENCE_NOT_FOUND)
    if body.purge:
        await services.presences.void_lists(caller.project.id)
    return respond(presence_model(presence))


@router.delete(
    "/v1/presences/{presenceId}",
    response_model=None,
    status_code=204,
    responses=documented(None),
    operation_id="presencesDelete",
    dependencies=[_limit_writes],
)
async def delete_presence(request: Request, presenceId: str, caller: Writer) -> Response:
    """Delete a presence, and make cached lists void."""
    services = services_of(request)
    is_deleted = is_resource_id(presenceId) and await services.presences.delete(
        caller.project.id,
        presenceId,
        lambda presence: _require(caller, presence, "delete"),
        by=caller.acting,
    )
    if not is_deleted:
        raise refuse(Problem.PRESENCE_NOT_FOUND)
    await services.presences.void_lists(caller.project.id)
    return respond(None)


def _require(caller: Caller, presence: Presence, action: str) -> None:
    """Refuse a caller who may not do ``action``; what they may not even read is not there for them."""
    if caller.is_privileged or presence.is_granted(action, caller.roles):
        return
    if presence.is_granted("read", caller.roles):
        raise refuse(Problem.USER_UNAUTHORIZED)
    raise refuse(Problem.PRESENCE_NOT_FOUND)


async def _target(services: Services, caller: Caller, user_id: str | None) -> str:
    """Return whose presence a caller sets."""
    if not caller.is_privileged:
        if user_id is not None:
            raise refuse(Problem.PRESENCE_USER)
        return caller.user_id
    if not user_id:
        raise refuse(Problem.PRESENCE_USER_MISSING)
    async with services.store.read() as connection:
        await require_user(connection, caller.project.id, user_id)
    return user_id


async def _changes(services: Services, caller: Caller, body: PresenceChanges) -> dict[str, Any]:
    """Return the members of a presence that are to change."""
    _check(services, body)
    given: dict[str, Any] = {"status": body.status, "metadata": body.metadata, "expires_at": body.expiresAt}
    if body.userId is not None:
        given["user_id"] = await _target(services, caller, body.userId)
    if body.permissions is not None:
        given["permissions"] = tuple(grant(caller, body.permissions))
    return {name: value for name, value in given.items() if value is not None}


def _let_go(presence: Presence, *, until: str | None) -> Presence:
    """Return a presence that no connection ends any more: it must not stay for as long as one might have lasted.

    Args:
        presence: what a connection set.
        until: when it is to end, if anybody said so.
    """
    latest = to_text(datetime.now(UTC) + DEFAULT_LIFETIME)
    return msgspec.structs.replace(
        presence, source="rest", expires_at=until or min(presence.expires_at, latest)
    )


def _permissions(caller: Caller, user_id: str, given: list[str] | None) -> tuple[str, ...]:
    return model.default_permissions(user_id) if given is None else tuple(grant(caller, given))


def _check(services: Services, body: NewPresence | PresenceChanges) -> None:
    """Check what pydantic does not."""
    try:
        if body.status is not None:
            model.check_status(body.status)
        if body.metadata is not None:
            model.check_metadata(body.metadata, max_bytes=services.settings.presence_metadata_bytes)
    except PresenceInvalidError as error:
        raise bad_request(f"Invalid `{error.name}` param: {error.reason}") from error
    now = datetime.now(UTC)
    if body.expiresAt is not None and not to_text(now) < body.expiresAt <= to_text(now + model.MAX_LIFETIME):
        raise bad_request("Invalid `expiresAt` param: Value must be in the future, at most 30 days from now")
