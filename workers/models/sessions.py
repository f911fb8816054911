"""Sessions, and the tokens that people prove themselves with, as clients and subscribers are shown them. Pure."""

from typing_extensions import TypedDict

from workers.models.agents import agent_model
from workers.models.people import Row

Session = TypedDict(
    "Session",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "userId": str,
        "expire": str,
        "provider": str,
        "providerUid": str,
        "providerAccessToken": str,
        "providerAccessTokenExpiry": str,
        "providerRefreshToken": str,
        "ip": str,
        "osCode": str,
        "osName": str,
        "osVersion": str,
        "clientType": str,
        "clientCode": str,
        "clientName": str,
        "clientVersion": str,
        "clientEngine": str,
        "clientEngineVersion": str,
        "deviceName": str,
        "deviceBrand": str,
        "deviceModel": str,
        "countryCode": str,
        "countryName": str,
        "current": bool,
        "factors": list[str],
        "secret": str,
        "mfaUpdatedAt": str,
    },
)
"""A login of a person."""


class SessionList(TypedDict):
    """All logins of a person."""

    total: int
    sessions: list[Session]


Token = TypedDict(
    "Token",
    {"$id": str, "$createdAt": str, "userId": str, "secret": str, "expire": str, "phrase": str},
)
"""A secret for one use that was made for a person. ``secret`` is only shown to API keys."""


class Jwt(TypedDict):
    """A JSON Web Token."""

    jwt: str


def session_model(row: Row, *, current_id: str = "", secret: str = "") -> Session:
    """Return the model of a row of ``sessions``.

    Args:
        row: the session.
        current_id: the session that the request was made with; it is the one that is ``current``.
        secret: the session's value (wire specification 10.3), for those who may see it.
    """
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "userId": row["user_id"],
        "expire": row["expires_at"],
        "provider": row["provider"],
        "providerUid": row["provider_uid"],
        "providerAccessToken": "",
        "providerAccessTokenExpiry": "",
        "providerRefreshToken": "",
        "ip": row["ip"],
        **agent_model(row["agent"]),
        "current": row["id"] == current_id,
        "factors": row["factors"],
        "secret": secret,
        "mfaUpdatedAt": row["mfa_updated_at"] or "",
    }


def token_model(row: Row, *, secret: str = "", phrase: str = "") -> Token:
    """Return the model of a row of ``tokens``, with its secret for those who may see it."""
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "userId": row["user_id"],
        "secret": secret,
        "expire": row["expires_at"],
        "phrase": phrase,
    }
