"""Whether a function may be run for somebody: when they ask for it, and, if they asked for later, when it is time."""

from collections.abc import Collection

from realtime.permissions import ANY
from workers.functions.calls import Request
from workers.functions.loading import LoadedFunction
from workers.models.people import Row
from workers.store.identities import load_users
from workers.store.store import Store


def may_execute(execute: Collection[str], roles: Collection[str]) -> bool:
    """Tell whether somebody with ``roles`` may have a function run whose execute permissions are ``execute``."""
    return any(role == ANY or role in roles for role in execute)


async def find_objection(store: Store, function: LoadedFunction, claimed: Row, request: Request) -> str:
    """Return why an execution that waited must not be run any more; empty if it may be.

    Who made it may have been blocked since, or lost the right; the function may have been disabled. An API key that
    had a disabled function run gets what it wanted.
    """
    if not function.enabled and not request.although_disabled:
        return "it is disabled."
    if claimed["trigger"] != "http" or request.by_key:
        return ""
    roles: Collection[str] = request.claimed_roles
    if not roles:
        async with store.read() as connection:
            users = await load_users(connection, claimed["project_id"], [request.user_id])
        user = users.get(request.user_id)
        if user is None or not user.active:
            return "whoever called it is blocked, or gone."
        roles = user.roles()
    return "" if may_execute(function.execute, roles) else "whoever called it may not execute it any more."
