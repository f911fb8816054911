"""The account object: what a client is told of the person it is connected as (wire specification 3.7)."""

from typing import Any

from realtime.identity.model import User


def account_object(user: User) -> dict[str, Any]:
    """Return the account of ``user`` as JSON members, in the order of the specification.

    What the read model does not know is null (``prefs``: ``{}``, ``targets``: ``[]``). Members of
    ``user.account`` replace those, and come last where the specification has none of that name. Secrets and
    their hashes are not part of the object.
    """
    return {
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
        **user.account,
    }
