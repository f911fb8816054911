"""Presences, as clients are shown them; made by :func:`realtime.presences.model.presence_model`."""

from typing import Any

from typing_extensions import TypedDict

Presence = TypedDict(
    "Presence",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "$permissions": list[str],
        "userId": str,
        "status": str,
        "source": str,
        "expiresAt": str,
        "metadata": Any,
    },
)
"""What somebody lets others see of them. ``source`` is ``rest`` or ``realtime``; ``metadata`` any JSON value."""


class PresenceList(TypedDict):
    """A page of presences."""

    total: int
    presences: list[Presence]
