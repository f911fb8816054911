"""Projects with their API keys and platforms, as servers are shown them. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from typing_extensions import TypedDict

from workers.models.people import Row

PROTOCOLS = ("websocket",)
"""By what a project can be reached, besides HTTP."""

Service = Literal[
    "account",
    "avatars",
    "databases",
    "functions",
    "locale",
    "messaging",
    "presences",
    "storage",
    "tablesdb",
    "teams",
]
"""What can be closed to clients, by the first word of its paths."""

SERVICES: tuple[Service, ...] = get_args(Service)
"""All of them. What a project has no switch for is always on."""

Switch = TypedDict("Switch", {"$id": str, "enabled": bool})
"""Something of a project that is on or off."""

Project = TypedDict(
    "Project",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "name": str,
        "teamId": str,
        "region": str,
        "devKeys": list[Any],
        "smtpEnabled": bool,
        "smtpSenderName": str,
        "smtpSenderEmail": str,
        "smtpReplyToName": str,
        "smtpReplyToEmail": str,
        "smtpHost": str,
        "smtpPort": int,
        "smtpUsername": str,
        "smtpPassword": str,
        "smtpSecure": str,
        "pingCount": int,
        "pingedAt": str,
        "labels": list[str],
        "status": str,
        "onboarding": dict[str, Any],
        "authMethods": list[Switch],
        "services": list[Switch],
        "protocols": list[Switch],
        "blocks": list[Any],
        "consoleAccessedAt": str,
        "wafEnabled": bool,
    },
)
"""A tenant. Members about what this server does not have (its own mail servers, firewalls) are there for the SDKs."""


class ProjectList(TypedDict):
    """A page of projects."""

    total: int
    projects: list[Project]


Key = TypedDict(
    "Key",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "name": str,
        "expire": str | None,
        "scopes": list[str],
        "secret": str,
        "accessedAt": str,
        "sdks": list[str],
    },
)
"""An API key; ``secret`` is empty but in the answer to its creation."""


class KeyList(TypedDict):
    """A page of API keys."""

    total: int
    keys: list[Key]


class PlatformList(TypedDict):
    """A page of platforms."""

    total: int
    platforms: list[Any]


_NAME_MEMBERS = {
    "web": "hostname",
    "apple": "bundleIdentifier",
    "android": "applicationId",
    "windows": "packageIdentifierName",
    "linux": "packageName",
}
"""What the name of a client application is called, by the family of its platform."""

_FAMILIES = {
    "web": "web",
    "unity": "web",
    "apple": "apple",
    "ios": "apple",
    "macos": "apple",
    "watchos": "apple",
    "tvos": "apple",
    "android": "android",
    "windows": "windows",
    "linux": "linux",
}


def project_model(row: Row) -> Project:
    """Return the model of a row of ``projects``."""
    disabled: Mapping[str, Sequence[str]] = row["disabled"]
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "name": row["name"],
        "teamId": row["team_id"],
        "region": row["region"],
        "devKeys": [],
        "smtpEnabled": False,
        "smtpSenderName": "",
        "smtpSenderEmail": "",
        "smtpReplyToName": "",
        "smtpReplyToEmail": "",
        "smtpHost": "",
        "smtpPort": 0,
        "smtpUsername": "",
        "smtpPassword": "",
        "smtpSecure": "",
        "pingCount": row["ping_count"],
        "pingedAt": row["pinged_at"] or "",
        "labels": [],
        "status": "active",
        "onboarding": {},
        "authMethods": [],
        "services": _switches(SERVICES, disabled.get("services", ())),
        "protocols": _switches(PROTOCOLS, disabled.get("protocols", ())),
        "blocks": [],
        "consoleAccessedAt": "",
        "wafEnabled": False,
    }


def _switches(names: Sequence[str], disabled: Sequence[str]) -> list[Switch]:
    return [{"$id": name, "enabled": name not in disabled} for name in names]


def key_model(row: Row, *, secret: str = "") -> Key:
    """Return the model of a row of ``keys``; ``secret`` is known only while the key is made."""
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "name": row["name"],
        # None, as the SDKs send it for a key that never expires.
        "expire": row["expires_at"],
        "scopes": row["scopes"],
        "secret": secret,
        "accessedAt": row["accessed_at"] or "",
        "sdks": [],
    }


def platform_family(platform_type: str) -> str:
    """Return which of the API's five types a platform is shown as: ``flutter-android`` is an ``android``."""
    return _FAMILIES.get(platform_type.rpartition("-")[2], "web")


def platform_model(row: Row) -> Mapping[str, Any]:
    """Return the model of a row of ``platforms``: ``PlatformWeb``, ``PlatformApple`` and so on, by its type."""
    family = platform_family(row["type"])
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "name": row["name"],
        "type": family,
        _NAME_MEMBERS[family]: row["hostname"] or row["key"],
    }
