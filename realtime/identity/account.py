"""The account object: how a person is shown to the client that acts as them (wire spec 3.7). Pure."""

from typing import Any

from realtime.identity.model import User


def account_object(user: User) -> dict[str, Any]:
    """Return the ``user`` of ``connected`` and ``authentication`` frames, keys in the documented order.

    What the record does not know is null. Members of ``user.account`` replace those here; others follow.
    """
    account: dict[str, Any] = {
        "$id": user.id,
        "$createdAt": None,
        "$updatedAt": None,
        "name": user.name,
        "registration": None,
        "status": user.active,
        "labels": list(user.labels),
        "passwordUpdate": None,
        "email": user.email,
        "phone": user.phone,
        "emailVerification": user.email_verified,
        "emailCanonical": None,
        "emailIsFree": None,
        "emailIsDisposable": None,
        "emailIsCorporate": None,
        "emailIsCanonical": None,
        "phoneVerification": user.phone_verified,
        "mfa": False,
        "prefs": {},
        "targets": [],
        "accessedAt": None,
        "impersonator": user.impersonator,
        "impersonatorUserId": None,
    }
    return account | user.account
