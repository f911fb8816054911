"""Second factors: which a person has, when a session still lacks one, and the models that tell of them. Pure."""

from collections.abc import Sequence

from typing_extensions import TypedDict

from workers.models.people import Row

FACTORS_REQUIRED = 2
"""How many factors a session needs of somebody who asks for more than one."""


class MfaFactors(TypedDict):
    """The factors that a person can be asked for."""

    totp: bool
    phone: bool
    email: bool
    recoveryCode: bool
    custom: bool


class MfaType(TypedDict):
    """A new authenticator: its secret, and the address that apps read from a QR code."""

    secret: str
    uri: str


class MfaRecoveryCodes(TypedDict):
    """Codes for one use, for somebody who lost every other factor."""

    recoveryCodes: list[str]


MfaChallenge = TypedDict("MfaChallenge", {"$id": str, "$createdAt": str, "userId": str, "expire": str})
"""A question for a second factor, until it is answered."""


def factors_model(user: Row) -> MfaFactors:
    """Return the factors that the row of a user has: of an authenticator and an address, those that were verified."""
    return {
        "totp": bool(user["totp_secret"]) and user["totp_verified"],
        # Nothing here sends text messages.
        "phone": False,
        "email": bool(user["email"]) and user["email_verified"],
        "recoveryCode": bool(user["mfa_recovery_codes"]),
        "custom": False,
    }


def lacks_factor(user: Row, factors: Sequence[str]) -> bool:
    """Tell whether a session of ``user`` that has shown ``factors`` must show a further one.

    Only if the user can: who asks for a second factor and has none would be locked out for good.
    """
    if not user["mfa"] or len(factors) >= FACTORS_REQUIRED:
        return False
    available = factors_model(user)
    return (available["totp"] and "totp" not in factors) or (available["email"] and "email" not in factors)


def challenge_model(row: Row) -> MfaChallenge:
    """Return the model of a row of ``challenges``."""
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "userId": row["user_id"],
        "expire": row["expires_at"],
    }
