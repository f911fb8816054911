"""What a project says of its people: how long sessions last, how many there are, what ends them.

Policies stand in the ``policies`` column of ``projects``, each under its ID in the API (``session-limit``), with the
members that its model has. What a project leaves out, the settings say.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.settings import Settings
from workers.api.people.users import load_policies


@dataclass(frozen=True, slots=True)
class Policies:
    """The policies that logins follow."""

    session_lifetime_s: float
    """How long a session lasts, in seconds."""
    sessions_per_user: int
    """How many a user may have; 0 for no limit."""
    ends_sessions: bool
    """Whether a new password ends the sessions that were begun with the old one."""
    users: int
    """How many users the project may have; 0 for no limit."""
    stored: Mapping[str, Any]
    """All policies of the project, as the column has them."""

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any], settings: Settings) -> "Policies":
        """Return what the column ``policies`` says, completed by the settings."""
        return cls(
            session_lifetime_s=stored.get("session-duration", {}).get("duration")
            or settings.session_lifetime_s,
            sessions_per_user=stored.get("session-limit", {}).get("total", settings.sessions_per_user),
            ends_sessions=stored.get("session-invalidation", {}).get("enabled", True),
            users=stored.get("user-limit", {}).get("total", 0),
            stored=stored,
        )


async def read_policies(connection: AsyncConnection, project_id: str, settings: Settings) -> Policies:
    """Return the policies of a project."""
    return Policies.from_stored(await load_policies(connection, project_id), settings)
