"""Permissions of a resource, the roles they name, and the roles that a person holds.

A permission such as ``read("team:red/owner")`` lets whoever holds the role ``team:red/owner`` read a
resource. An event carries the roles that may read it; a connection carries the roles that its person holds;
the hub delivers where the two meet. The module is pure and knows only :mod:`realtime.errors`. Sources: wire
specification 5.4 (notes), 8.1 and 8.2.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec

from realtime.errors import InvalidPermissionError

ANY = "any"
"""The role that matches everybody, guests included. It is named by permissions and held by nobody."""
GUESTS = "guests"
"""The only role of somebody who showed no valid credential."""
USERS = "users"
"""The role of everybody who showed a valid credential."""

_CACHE_SIZE = 65_536
# Letters, digits and . _ - are the IDs of Appwrite (up to 36 characters, first one a letter or digit). The
# wider length admits the IDs it composes (attributes), the further characters the subjects of other identity
# providers ("auth0|62f1", an e-mail address). None of them has a meaning in a role, permission, channel or
# event name.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._|@+-]{0,254}")
_PERMISSION = re.compile(r'([a-z]+)\("([^"]*)"\)')
_VERIFICATION = frozenset({"verified", "unverified"})
_ACTIONS = {
    "read": ("read",),
    "create": ("create",),
    "update": ("update",),
    "delete": ("delete",),
    "write": ("create", "update", "delete"),
}


def is_valid_id(text: str) -> bool:
    """Tell whether ``text`` may be the ID of a user, team, row or any other resource.

    An ID has 1 to 255 characters out of ``A-Z a-z 0-9 . _ - | @ +`` and begins with a letter or a digit.
    """
    return _ID.fullmatch(text) is not None


class Role(msgspec.Struct, frozen=True):
    """One role, taken apart. ``str(role)`` is the text it was parsed from."""

    kind: str
    """``any``, ``guests``, ``users``, ``user``, ``team``, ``member`` or ``label``."""
    id: str = ""
    """The ID of the user, team or membership, or the label's name; empty for the first three kinds."""
    dimension: str = ""
    """``verified`` or ``unverified`` for ``users`` and ``user``, a role within the team for ``team``, or
    empty."""

    @classmethod
    def parse(cls, text: str) -> "Role":
        """Parse a role such as ``any``, ``users/verified``, ``user:U``, ``team:T/owner`` or ``label:vip``.

        Raises:
            InvalidPermissionError: ``text`` is not of a known form.
        """
        return _parse_role(text)

    def __str__(self) -> str:
        text = f"{self.kind}:{self.id}" if self.id else self.kind
        return f"{text}/{self.dimension}" if self.dimension else text


class Permission(msgspec.Struct, frozen=True):
    """One action that one role may take on a resource."""

    action: str
    """``read``, ``create``, ``update`` or ``delete``."""
    role: Role

    @classmethod
    def parse(cls, text: str) -> tuple["Permission", ...]:
        """Parse a permission such as ``read("user:U/verified")``.

        Returns:
            One permission; for ``write``, which is an alias, those to create, update and delete.

        Raises:
            InvalidPermissionError: the text, its action or its role is not of a known form.
        """
        return _parse_permission(text)

    def __str__(self) -> str:
        return f'{self.action}("{self.role}")'


def validate_role(text: str) -> str:
    """Return ``text`` if it is a role that an event may name.

    Raises:
        InvalidPermissionError: it is not of a known form.
    """
    _parse_role(text)
    return text


def read_roles(permissions: Iterable[str]) -> list[str]:
    """Return the roles inside the ``read("...")`` permissions, in order, each once (wire specification 5.4).

    Permissions for other actions are checked and give nothing.

    Raises:
        InvalidPermissionError: one of the permissions is malformed.
    """
    return list(
        dict.fromkeys(
            str(permission.role)
            for text in permissions
            for permission in _parse_permission(text)
            if permission.action == "read"
        )
    )


def roles_of_user(
    user_id: str,
    *,
    verified: bool = False,
    memberships: Iterable[tuple[str, str, Sequence[str]]] = (),
    labels: Iterable[str] = (),
) -> frozenset[str]:
    """Return the roles that a person holds (wire specification 8.1).

    The arguments are taken as they are: whoever accepts IDs from outside checks them with
    :func:`is_valid_id`, since an ID with a slash could pass for another role.

    Args:
        user_id: the person; empty for a guest, who has one role whatever else is given.
        verified: whether the e-mail address or the phone number is verified.
        memberships: membership ID, team ID and roles within the team, of each confirmed membership; one whose
            ID is not known (empty) gives no ``member:`` role.
        labels: the person's labels.
    """
    if not user_id:
        return frozenset({GUESTS})
    verification = "verified" if verified else "unverified"
    roles = {USERS, f"{USERS}/{verification}", f"user:{user_id}", f"user:{user_id}/{verification}"}
    for membership_id, team_id, team_roles in memberships:
        roles.add(f"team:{team_id}")
        if membership_id:
            roles.add(f"member:{membership_id}")
        roles.update(f"team:{team_id}/{role}" for role in team_roles)
    roles.update(f"label:{label}" for label in labels)
    return frozenset(roles)


def _parse_role(text: object) -> Role:
    if not isinstance(text, str):
        raise InvalidPermissionError(f"A role is a string, not {type(text).__name__}.")
    return _parse_role_text(text)


# Both parsers are on the path of every publish, and a project's roles and permissions are few and repeat.
@lru_cache(maxsize=_CACHE_SIZE)
def _parse_role_text(text: str) -> Role:
    subject, slash, dimension = text.partition("/")
    kind, colon, id_ = subject.partition(":")
    match kind:
        case "any" | "guests":
            valid = not colon and not slash
        case "users":
            valid = not colon and (not slash or dimension in _VERIFICATION)
        case "user":
            valid = is_valid_id(id_) and (not slash or dimension in _VERIFICATION)
        case "team":
            valid = is_valid_id(id_) and (not slash or is_valid_id(dimension))
        case "member" | "label":
            valid = is_valid_id(id_) and not slash
        case _:
            valid = False
    if not valid:
        raise InvalidPermissionError(
            f"Role {_quote(text)} is not valid. Use any, guests, users, users/verified, users/unverified, "
            "user:ID, user:ID/verified, user:ID/unverified, team:ID, team:ID/ROLE, member:ID or label:NAME."
        )
    return Role(kind, id_, dimension)


def _parse_permission(text: object) -> tuple[Permission, ...]:
    if not isinstance(text, str):
        raise InvalidPermissionError(f"A permission is a string, not {type(text).__name__}.")
    return _parse_permission_text(text)


@lru_cache(maxsize=_CACHE_SIZE)
def _parse_permission_text(text: str) -> tuple[Permission, ...]:
    match = _PERMISSION.fullmatch(text)
    if match is None or match[1] not in _ACTIONS:
        raise InvalidPermissionError(
            f'Permission {_quote(text)} is not valid. Use read("ROLE"), create("ROLE"), update("ROLE"), '
            'delete("ROLE") or write("ROLE").'
        )
    role = _parse_role_text(match[2])
    return tuple(Permission(action, role) for action in _ACTIONS[match[1]])


def _quote(text: str) -> str:
    """Quote what the caller sent, cut to a length that suits a message."""
    return f"`{text[:80]}...`" if len(text) > 80 else f"`{text}`"
