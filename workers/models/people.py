"""Accounts and their targets, as clients and hubs are shown them. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import TypedDict

Row = Mapping[Any, Any]
"""A row of a table of :mod:`workers.store.tables`, by the names of its columns."""

Target = TypedDict(
    "Target",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "name": str,
        "userId": str,
        "providerId": str | None,
        "providerType": str,
        "identifier": str,
        "expired": bool,
    },
)
"""A way to reach a person: an e-mail address, a phone number, a device."""

Account = TypedDict(
    "Account",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "name": str,
        "registration": str,
        "status": bool,
        "labels": list[str],
        "passwordUpdate": str,
        "email": str,
        "phone": str,
        "emailVerification": bool,
        "emailCanonical": str | None,
        "emailIsFree": bool | None,
        "emailIsDisposable": bool | None,
        "emailIsCorporate": bool | None,
        "emailIsCanonical": bool | None,
        "phoneVerification": bool,
        "mfa": bool,
        "prefs": dict[str, Any],
        "targets": list[Target],
        "accessedAt": str,
        "impersonator": bool,
        "impersonatorUserId": str | None,
    },
)
"""A person as they see themselves (wire specification 3.7)."""


def target_model(row: Row) -> Target:
    """Return the model of a row of ``targets``."""
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "name": row["name"],
        "userId": row["user_id"],
        "providerId": row["provider_id"] or None,
        "providerType": row["provider_type"],
        "identifier": row["identifier"],
        "expired": row["expired"],
    }


def account_model(row: Row, targets: Sequence[Row] = ()) -> Account:
    """Return the account of a row of ``users``, with the rows of its targets."""
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "name": row["name"],
        "registration": row["registered_at"],
        "status": row["status"],
        "labels": row["labels"],
        "passwordUpdate": row["password_updated_at"] or "",
        "email": row["email"] or "",
        "phone": row["phone"] or "",
        "emailVerification": row["email_verified"],
        # What kind of address it is would have to be looked up in lists that change daily.
        "emailCanonical": None,
        "emailIsFree": None,
        "emailIsDisposable": None,
        "emailIsCorporate": None,
        "emailIsCanonical": None,
        "phoneVerification": row["phone_verified"],
        "mfa": row["mfa"],
        "prefs": row["prefs"],
        "targets": [target_model(target) for target in targets],
        "accessedAt": row["accessed_at"] or "",
        "impersonator": row["impersonator"],
        "impersonatorUserId": None,
    }
