"""Users, as servers see them: accounts with the form in which their passwords are stored. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import TypedDict

from workers.models.people import Account, Row, Target, account_model

PASSWORD_MEMBERS = ("password", "hash", "hashOptions")
"""The members of a user that events leave out."""

_SHOWN_OPTIONS: Mapping[str, Sequence[str]] = {
    "argon2": ("memoryCost", "timeCost", "threads"),
    "scrypt": ("costCpu", "costMemory", "costParallel", "length"),
    "scryptMod": ("salt", "saltSeparator", "signerKey"),
}
"""Which options of a hash the API shows; of others only the type."""


class User(Account):
    """A person as servers see them."""

    password: str
    hash: str
    hashOptions: dict[str, Any]  # noqa: N815 - the name in the API


class UserList(TypedDict):
    """A page of users."""

    total: int
    users: list[User]


class TargetList(TypedDict):
    """A page of targets."""

    total: int
    targets: list[Target]


Identity = TypedDict(
    "Identity",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "userId": str,
        "provider": str,
        "providerUid": str,
        "providerEmail": str,
        "providerAccessToken": str,
        "providerAccessTokenExpiry": str,
        "providerRefreshToken": str,
    },
)
"""An account elsewhere that a person logged in with."""


class IdentityList(TypedDict):
    """A page of identities."""

    total: int
    identities: list[Identity]


def user_model(row: Row, targets: Sequence[Row] = ()) -> User:
    """Return the model of a row of ``users``, with the rows of its targets."""
    algorithm: str = row["password_algorithm"]
    options: Mapping[str, Any] = row["password_options"]
    shown = {name: options[name] for name in _SHOWN_OPTIONS.get(algorithm, ()) if name in options}
    return {
        **account_model(row, targets),
        "password": row["password_hash"] or "",
        "hash": algorithm,
        "hashOptions": {"type": algorithm, **shown},
    }


def show_user(row: Row, targets: Sequence[Row]) -> Mapping[str, Any]:
    """Return what events tell of a user: the model without :data:`PASSWORD_MEMBERS`."""
    return account_model(row, targets)


def user_list_model(rows: Sequence[Row], targets: Mapping[str, Sequence[Row]], total: int) -> UserList:
    """Return the model of a page of ``total`` users, with the rows of their targets by user ID."""
    return {"total": total, "users": [user_model(row, targets.get(row["id"], ())) for row in rows]}
