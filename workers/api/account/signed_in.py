"""Who may call the account service: people, each for themselves."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Depends
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.api import errors
from workers.api.access import Caller, CallerKind, requires
from workers.api.people.users import targets_of
from workers.api.problems import Problem, refuse
from workers.models.people import Row, account_model


async def _signed_in(caller: Annotated[Caller, Depends(requires("account"))]) -> Caller:
    return _person(caller)


async def _half_signed_in(
    caller: Annotated[Caller, Depends(requires("account", mfa_pending=True))],
) -> Caller:
    return _person(caller)


def _person(caller: Caller) -> Caller:
    # A key with every scope has this one too, but no account.
    if not caller.user_id:
        raise errors.missing_scope(caller.kind.value, "account")
    return caller


SignedIn = Annotated[Caller, Depends(_signed_in)]
"""A person who is logged in; all others get a 401."""

HalfSignedIn = Annotated[Caller, Depends(_half_signed_in)]
"""A person who is logged in, or has still to show a second factor."""

Anybody = Annotated[Caller, Depends(requires("sessions.write", mfa_pending=True))]
"""Whoever may log somebody in: guests, people, and keys with that scope."""


def refuse_second_session(caller: Caller) -> None:
    """Refuse somebody who is logged in already.

    Raises:
        ApiError: 401 ``user_session_already_exists``.
    """
    if caller.kind is CallerKind.USER:
        raise refuse(Problem.USER_SESSION_EXISTS)


async def show_account(
    connection: AsyncConnection, row: Row, caller: Caller | None = None
) -> Mapping[str, Any]:
    """Return the account of a row of ``users``, with its targets; for an impersonator, with their own ID."""
    account = account_model(row, await targets_of(connection, row["project_id"], row["id"]))
    if caller is not None and caller.identity.impersonated:
        account["impersonatorUserId"] = caller.identity.impersonator_id
    return account
