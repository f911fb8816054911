"""Permissions as requests give them: to tables and buckets by servers, to rows and files by anybody.

The rules themselves are in :mod:`workers.api.permissions`.
"""

from collections.abc import Collection
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from realtime.errors import InvalidPermissionError
from realtime.permissions import ANY, Permission
from workers.api.access import Caller
from workers.api.permissions import MAX_PERMISSIONS, are_held, default_permissions, parse_permissions
from workers.api.problems import Problem, refuse

_MAX_SHOWN = 50
"""How many roles a refusal names."""


def grant(caller: Caller, given: Any) -> list[str]:
    """Return the permissions that ``caller`` gives a row or file, as it keeps them; the creator's own for None.

    Raises:
        ApiError: 401 ``user_unauthorized``, a user grants them to roles that they do not hold.
        InvalidPermissionError: they are malformed.
    """
    if given is None:
        return default_permissions(caller.user_id)
    parsed = parse_permissions(given)
    if not caller.is_privileged and not are_held(parsed, caller.roles):
        raise refuse(Problem.ROW_PERMISSIONS, roles=_shown(caller.roles))
    return parsed


def _shown(roles: Collection[str]) -> str:
    """Return the roles that somebody may grant permissions to, or some of them: they may hold very many."""
    shown = [ANY, *sorted(roles)]
    more = ["..."] if len(shown) > _MAX_SHOWN else []
    return ", ".join([*shown[:_MAX_SHOWN], *more])


def _check(texts: list[str]) -> list[str]:
    """Return the permissions as they are kept: ``write`` is taken apart, and each stands once."""
    try:
        found = [str(permission) for text in texts for permission in Permission.parse(text)]
    except InvalidPermissionError as error:
        raise ValueError(str(error)) from error
    return list(dict.fromkeys(found))


ContainerPermissions = Annotated[list[str], Field(max_length=MAX_PERMISSIONS), AfterValidator(_check)]
"""Permissions of a table or bucket, such as ``create("users")``."""
