"""Who may do what to what is in a container, and whom a caller may let do it. Pure.

Rows are in tables, files in buckets. A container's permissions hold for all of its items. If it has row or file
security, an item's own permissions let further people read, update or delete that item; whether somebody may create
items is said by the container alone. API keys are not asked. Sources: wire specification 8.1, 8.2 and section 13 on
permissions that are given.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any, Literal

from realtime.errors import InvalidPermissionError
from realtime.permissions import ANY, Permission

Action = Literal["create", "read", "update", "delete"]

MAX_PERMISSIONS = 100
"""How many permissions an item may have."""

ITEM_ACTIONS = ("read", "update", "delete")
"""What an item's own permissions are about, in the order in which a creator gets them."""


def is_granted(action: Action, permissions: Iterable[str], roles: Collection[str]) -> bool:
    """Tell whether ``permissions`` let somebody who holds ``roles`` do ``action``; ``any`` is held by everybody."""
    return any(
        granted_action == action and (role == ANY or role in roles)
        for text in permissions
        for granted_action, role in _parse(text)
    )


def may(
    action: Action,
    roles: Collection[str],
    *,
    container: Sequence[str],
    item: Sequence[str] = (),
    item_security: bool = False,
) -> bool:
    """Tell whether somebody who holds ``roles`` may do ``action`` to an item.

    Args:
        action: what is to be done.
        roles: the roles that the person holds.
        container: the permissions of the table or bucket.
        item: the permissions of the row or file; of no account for ``create``, as there is none yet.
        item_security: whether the item's own permissions count.
    """
    if is_granted(action, container, roles):
        return True
    return item_security and action != "create" and is_granted(action, item, roles)


def parse_permissions(given: Any) -> list[str]:
    """Return the permissions of a request as an item keeps them: each once, ``write`` taken apart, in order.

    Raises:
        InvalidPermissionError: it is not a list of at most :data:`MAX_PERMISSIONS` permissions to read, update,
            delete or write.
    """
    if not isinstance(given, list):
        raise InvalidPermissionError("Invalid `permissions` param: Permissions must be an array of strings.")
    if len(given) > MAX_PERMISSIONS:
        raise InvalidPermissionError(
            f"Invalid `permissions` param: You can only provide up to {MAX_PERMISSIONS} permissions."
        )
    parsed: dict[str, None] = {}
    for text in given:
        for action, role in _parse(text):
            if action in ITEM_ACTIONS:
                parsed[f'{action}("{role}")'] = None
            elif not text.startswith("write("):
                raise InvalidPermissionError(
                    f'Invalid `permissions` param: Permission "{action}" is not allowed. Must be one of: read, '
                    "update, delete, write."
                )
    return list(parsed)


def default_permissions(user_id: str) -> list[str]:
    """Return what an item gets if its creator names no permissions; nothing for guests and API keys."""
    return [f'{action}("user:{user_id}")' for action in ITEM_ACTIONS] if user_id else []


def are_held(permissions: Iterable[str], roles: Collection[str]) -> bool:
    """Tell whether somebody who holds ``roles`` may grant ``permissions``: all of their roles are held."""
    return all(role == ANY or role in roles for text in permissions for _, role in _parse(text))


def pairs(permissions: Iterable[str]) -> list[tuple[str, str]]:
    """Return action and role of each permission, as rows of a table of permissions have them."""
    return [pair for text in permissions for pair in _parse(text)]


def _parse(text: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(text, str):
        raise InvalidPermissionError("Invalid `permissions` param: Permissions must be an array of strings.")
    return _parse_text(text)


@lru_cache(maxsize=65_536)
def _parse_text(text: str) -> tuple[tuple[str, str], ...]:
    return tuple((permission.action, str(permission.role)) for permission in Permission.parse(text))
