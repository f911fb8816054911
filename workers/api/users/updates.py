"""Routes that change one thing of a user, each with its event ``users.[userId].update.<attribute>``."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import Caller
from workers.api.params import Body
from workers.api.people import passwords
from workers.api.people.fields import OptionalEmail, OptionalPassword, OptionalPhone, PersonName, Prefs
from workers.api.people.policies import read_policies
from workers.api.people.sessions import delete_sessions
from workers.api.people.users import require_user, update_user
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.api.users.access import Reader, UserId, Writer, respond_with_user
from workers.models.users import User, show_user

router = APIRouter(tags=["users"])

_UPDATED = documented(User)

Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9]+$", max_length=36)]


class NewName(Body):
    """A name."""

    name: PersonName


class NewEmail(Body):
    """An e-mail address; an empty one takes it away."""

    email: OptionalEmail


class NewPhone(Body):
    """A phone number; an empty one takes it away."""

    number: OptionalPhone


class NewPassword(Body):
    """A password; an empty one takes it away."""

    password: OptionalPassword


class NewStatus(Body):
    """Whether the user is let in; false blocks."""

    status: bool


class NewLabels(Body):
    """Labels, which replace the earlier ones."""

    labels: Annotated[list[Label], Field(max_length=1000)]


class NewPrefs(Body):
    """Preferences, which replace the earlier ones."""

    prefs: Prefs


class EmailVerification(Body):
    """Whether the e-mail address is theirs."""

    emailVerification: bool


class PhoneVerification(Body):
    """Whether the phone number is theirs."""

    phoneVerification: bool


class NewImpersonator(Body):
    """Whether the user may act as others."""

    impersonator: bool


@router.patch(
    "/v1/users/{userId}/name", response_model=None, responses=_UPDATED, operation_id="usersUpdateName"
)
async def update_name(request: Request, userId: UserId, body: NewName, caller: Writer) -> Response:
    """Rename a user."""
    return await _update(request, caller, userId, {"name": body.name}, "name")


@router.patch(
    "/v1/users/{userId}/email", response_model=None, responses=_UPDATED, operation_id="usersUpdateEmail"
)
async def update_email(request: Request, userId: UserId, body: NewEmail, caller: Writer) -> Response:
    """Change a user's e-mail address; a new one is not verified."""
    return await _update(request, caller, userId, {"email": body.email}, "email")


@router.patch(
    "/v1/users/{userId}/phone", response_model=None, responses=_UPDATED, operation_id="usersUpdatePhone"
)
async def update_phone(request: Request, userId: UserId, body: NewPhone, caller: Writer) -> Response:
    """Change a user's phone number; a new one is not verified."""
    return await _update(request, caller, userId, {"phone": body.number}, "phone")


@router.patch(
    "/v1/users/{userId}/password", response_model=None, responses=_UPDATED, operation_id="usersUpdatePassword"
)
async def update_password(request: Request, userId: UserId, body: NewPassword, caller: Writer) -> Response:
    """Change a user's password, which also ends their sessions unless the project says otherwise."""
    services = services_of(request)
    async with services.store.read() as connection:
        row = await require_user(connection, caller.project.id, userId)
        policies = await read_policies(connection, caller.project.id, services.settings)
    password_hash = None
    if body.password is not None:
        await passwords.check_password_rules(body.password, policies.stored, row=row)
        password_hash = await passwords.hash_password(body.password)
    async with services.store.write(caller.project) as tx:
        row = await require_user(tx.connection, caller.project.id, userId, lock=True)
        changes = passwords.password_changes(row, password_hash, policies.stored, tx.now_text)
        if policies.ends_sessions:
            await delete_sessions(tx, userId)
        row = await update_user(tx, row, changes, attribute="password", show=show_user)
        return await respond_with_user(tx.connection, caller.project.id, row)


@router.patch(
    "/v1/users/{userId}/status", response_model=None, responses=_UPDATED, operation_id="usersUpdateStatus"
)
async def update_status(request: Request, userId: UserId, body: NewStatus, caller: Writer) -> Response:
    """Block a user, who is then let in nowhere, or let them in again. Open connections follow at once."""
    return await _update(request, caller, userId, {"status": body.status}, "status")


@router.put(
    "/v1/users/{userId}/labels", response_model=None, responses=_UPDATED, operation_id="usersUpdateLabels"
)
async def update_labels(request: Request, userId: UserId, body: NewLabels, caller: Writer) -> Response:
    """Replace a user's labels, each of which is a role: `label:vip`. Open connections follow at once."""
    return await _update(request, caller, userId, {"labels": list(dict.fromkeys(body.labels))}, "labels")


@router.patch(
    "/v1/users/{userId}/verification",
    response_model=None,
    responses=_UPDATED,
    operation_id="usersUpdateEmailVerification",
)
async def update_email_verification(
    request: Request, userId: UserId, body: EmailVerification, caller: Writer
) -> Response:
    """Say whether a user's e-mail address is verified."""
    return await _update(request, caller, userId, {"email_verified": body.emailVerification}, "verification")


@router.patch(
    "/v1/users/{userId}/verification/phone",
    response_model=None,
    responses=_UPDATED,
    operation_id="usersUpdatePhoneVerification",
)
async def update_phone_verification(
    request: Request, userId: UserId, body: PhoneVerification, caller: Writer
) -> Response:
    """Say whether a user's phone number is verified."""
    return await _update(request, caller, userId, {"phone_verified": body.phoneVerification}, "verification")


@router.patch(
    "/v1/users/{userId}/impersonator",
    response_model=None,
    responses=_UPDATED,
    operation_id="usersUpdateImpersonator",
)
async def update_impersonator(
    request: Request, userId: UserId, body: NewImpersonator, caller: Writer
) -> Response:
    """Say whether a user may act as others."""
    return await _update(request, caller, userId, {"impersonator": body.impersonator}, "impersonator")


@router.get(
    "/v1/users/{userId}/prefs",
    response_model=None,
    responses=documented(dict[str, Any]),
    operation_id="usersGetPrefs",
)
async def get_prefs(request: Request, userId: UserId, caller: Reader) -> Response:
    """Return a user's preferences."""
    async with services_of(request).store.read() as connection:
        row = await require_user(connection, caller.project.id, userId)
    return respond(row["prefs"])


@router.patch(
    "/v1/users/{userId}/prefs",
    response_model=None,
    responses=documented(dict[str, Any]),
    operation_id="usersUpdatePrefs",
)
async def update_prefs(request: Request, userId: UserId, body: NewPrefs, caller: Writer) -> Response:
    """Replace a user's preferences; the event tells only these."""
    async with services_of(request).store.write(caller.project) as tx:
        row = await require_user(tx.connection, caller.project.id, userId)
        changes = {"prefs": body.prefs}
        await update_user(tx, row, changes, attribute="prefs", show=show_user, payload=body.prefs)
    return respond(body.prefs)


async def _update(
    request: Request, caller: Caller, user_id: str, changes: Mapping[str, Any], attribute: str
) -> Response:
    async with services_of(request).store.write(caller.project) as tx:
        row = await require_user(tx.connection, caller.project.id, user_id, lock=True)
        row = await update_user(tx, row, changes, attribute=attribute, show=show_user)
        return await respond_with_user(tx.connection, caller.project.id, row)
