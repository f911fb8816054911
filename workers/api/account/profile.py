"""Routes of the account itself: sign up, read it, and change what it says."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field
from sqlalchemy import func, select
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import Caller
from workers.api.account.passwords import lock_same, make_hash, prove_password
from workers.api.account.signed_in import Anybody, SignedIn, show_account
from workers.api.params import Body, CustomId
from workers.api.people.cookies import clear_session
from workers.api.people.fields import Email, Password, PersonName, Phone, Prefs
from workers.api.people.logs import record
from workers.api.people.passwords import (
    check_password_rules,
    hash_password,
    password_changes,
    verify_password,
)
from workers.api.people.policies import read_policies
from workers.api.people.sessions import delete_session, sessions_of
from workers.api.people.users import create_user, load_policies, require_user, update_user
from workers.api.problems import Problem, refuse
from workers.api.rates import rate_limit
from workers.api.responses import documented, respond
from workers.api.services import Services, services_of
from workers.models.people import Account, Row, account_model
from workers.store.ids import choose_id
from workers.store.store import Transaction
from workers.store.tables import users

router = APIRouter(tags=["account"])

PresentPassword = Annotated[str, Field(max_length=256, repr=False)]
"""A password that is to be checked; those that other systems made may be short."""

_BY_USER = Depends(rate_limit(limit=10, window_s=3600, by=("user", "url")))


class NewAccount(Body):
    """Somebody who signs up."""

    userId: CustomId
    email: Email
    password: Password
    name: PersonName = ""


class AccountName(Body):
    """A new name."""

    name: PersonName


class AccountEmail(Body):
    """A new e-mail address, and the password; that of an anonymous account becomes its own."""

    email: Email
    password: PresentPassword


class AccountPhone(Body):
    """A new phone number, and the password; that of an anonymous account becomes its own."""

    phone: Phone
    password: PresentPassword


class AccountPassword(Body):
    """A new password, and the one before, which only accounts without a password leave out."""

    password: Password
    oldPassword: PresentPassword = ""


class AccountPrefs(Body):
    """Preferences, which replace the earlier ones."""

    prefs: Prefs


@router.post(
    "/v1/account",
    response_model=None,
    responses=documented(Account, 201),
    operation_id="accountCreate",
    dependencies=[Depends(rate_limit(limit=10, window_s=3600, by=("ip", "url")))],
)
async def create_account(request: Request, body: NewAccount, caller: Anybody) -> Response:
    """Sign up with an e-mail address and a password. It does not log in."""
    services = services_of(request)
    async with services.store.read() as connection:
        policies = await load_policies(connection, caller.project.id)
    await check_password_rules(body.password, policies, personal=(body.name, body.email))
    password_hash = await hash_password(body.password)
    async with services.store.write(caller.project) as tx:
        await require_room(tx, services)
        row = await create_user(
            tx,
            user_id=choose_id(body.userId),
            email=body.email,
            name=body.name,
            password_hash=password_hash,
            show=account_model,
        )
        await record(tx, request, row["id"], "user.create")
        account = await show_account(tx.connection, row)
    return respond(account, 201)


@router.get("/v1/account", response_model=None, responses=documented(Account), operation_id="accountGet")
async def get_account(request: Request, caller: SignedIn) -> Response:
    """Return the account of whoever is logged in."""
    async with services_of(request).store.read() as connection:
        row = await require_user(connection, caller.project.id, caller.user_id)
        return respond(await show_account(connection, row, caller))


@router.patch(
    "/v1/account/name", response_model=None, responses=documented(Account), operation_id="accountUpdateName"
)
async def update_name(request: Request, body: AccountName, caller: SignedIn) -> Response:
    """Change the name."""
    return await _update(request, caller, {"name": body.name}, attribute="name")


@router.patch(
    "/v1/account/email",
    response_model=None,
    responses=documented(Account),
    operation_id="accountUpdateEmail",
    dependencies=[_BY_USER],
)
async def update_email(request: Request, body: AccountEmail, caller: SignedIn) -> Response:
    """Change the e-mail address, which is not verified then. An anonymous account becomes one with a password."""
    return await _update_address(request, caller, "email", body.email, body.password)


@router.patch(
    "/v1/account/phone",
    response_model=None,
    responses=documented(Account),
    operation_id="accountUpdatePhone",
    dependencies=[_BY_USER],
)
async def update_phone(request: Request, body: AccountPhone, caller: SignedIn) -> Response:
    """Change the phone number, which is not verified then."""
    return await _update_address(request, caller, "phone", body.phone, body.password)


@router.patch(
    "/v1/account/password",
    response_model=None,
    responses=documented(Account),
    operation_id="accountUpdatePassword",
    dependencies=[_BY_USER],
)
async def update_password(request: Request, body: AccountPassword, caller: SignedIn) -> Response:
    """Change the password. Sessions that were begun with the old one end, unless the project keeps them."""
    services = services_of(request)
    user = await _read(services, caller)
    if user["password_hash"] is not None and not await verify_password(body.oldPassword, user):
        raise refuse(Problem.USER_CREDENTIALS)
    password_hash = await make_hash(services, user, body.password)
    async with services.store.write(caller.project) as tx:
        row = await lock_same(tx, user)
        policies = await read_policies(tx.connection, tx.project.id, services.settings)
        changes = password_changes(row, password_hash, policies.stored, tx.now_text)
        updated = await update_user(tx, row, changes, attribute="password", show=account_model)
        if policies.ends_sessions:
            for session in await sessions_of(tx.connection, tx.project.id, row["id"], lock=True):
                if session["id"] != caller.session_id:
                    await delete_session(tx, session)
        await record(tx, request, row["id"], "user.update")
        account = await show_account(tx.connection, updated, caller)
    return respond(account)


@router.get(
    "/v1/account/prefs",
    response_model=None,
    responses=documented(dict[str, Any]),
    operation_id="accountGetPrefs",
)
async def get_prefs(request: Request, caller: SignedIn) -> Response:
    """Return the preferences."""
    return respond((await _read(services_of(request), caller))["prefs"])


@router.patch(
    "/v1/account/prefs", response_model=None, responses=documented(Account), operation_id="accountUpdatePrefs"
)
async def update_prefs(request: Request, body: AccountPrefs, caller: SignedIn) -> Response:
    """Replace the preferences. The event tells nothing else (wire specification 9.4)."""
    return await _update(request, caller, {"prefs": body.prefs}, attribute="prefs", payload=body.prefs)


@router.patch(
    "/v1/account/status",
    response_model=None,
    responses=documented(Account),
    operation_id="accountUpdateStatus",
)
async def update_status(request: Request, caller: SignedIn) -> Response:
    """Block oneself, for good: only an API key can undo it."""
    response = await _update(request, caller, {"status": False}, attribute="status")
    clear_session(response, request, caller.project.id)
    return response


async def require_room(tx: Transaction, services: Services) -> None:
    """Refuse one user more than the project may have.

    Raises:
        ApiError: 501 ``user_count_exceeded``.
    """
    limit = (await read_policies(tx.connection, tx.project.id, services.settings)).users
    if not limit:
        return
    counted = select(func.count()).select_from(users).where(users.c.project_id == tx.project.id)
    if (await tx.connection.execute(counted)).scalar_one() >= limit:
        raise refuse(Problem.USER_COUNT)


async def _read(services: Services, caller: Caller) -> Row:
    async with services.store.read() as connection:
        return await require_user(connection, caller.project.id, caller.user_id)


async def _update(
    request: Request,
    caller: Caller,
    changes: Mapping[str, Any],
    *,
    attribute: str,
    payload: Mapping[str, Any] | None = None,
) -> Response:
    async with services_of(request).store.write(caller.project) as tx:
        row = await require_user(tx.connection, tx.project.id, caller.user_id, lock=True)
        updated = await update_user(
            tx, row, changes, attribute=attribute, show=account_model, payload=payload
        )
        await record(tx, request, row["id"], "user.update")
        account = await show_account(tx.connection, updated, caller)
    return respond(account)


async def _update_address(
    request: Request, caller: Caller, attribute: str, address: str, password: str
) -> Response:
    services = services_of(request)
    user = await _read(services, caller)
    password_hash = await prove_password(services, user, password)
    async with services.store.write(caller.project) as tx:
        row = await lock_same(tx, user)
        changes: dict[str, Any] = {attribute: address}
        if password_hash is not None:
            policies = await load_policies(tx.connection, tx.project.id)
            changes |= password_changes(row, password_hash, policies, tx.now_text)
        updated = await update_user(tx, row, changes, attribute=attribute, show=account_model)
        await record(tx, request, row["id"], "user.update")
        account = await show_account(tx.connection, updated, caller)
    return respond(account)
