"""Which events take roles away, from whom, and what (wire specification 16.8 and 16.12). Pure.

An identity in the read model is simply read again. One that came in a token has no record, so the events that its
backend publishes are all there is: they can take roles away at once; to gain some, the client needs a new token.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from realtime.identity.model import GUEST, Identity

_LOSING_UPDATES = frozenset(
    {"email", "impersonator", "labels", "password", "phone", "status", "verification"}
)
"""What of a user may be updated so that roles are lost."""


def precise_name(events: Sequence[str]) -> str:
    """Return the most precise concrete name among an event's names; empty if it has none.

    That is the first one, but for updates of a user: there the name with the attribute comes later (wire
    specification 7.2, consequence).
    """
    if not events:
        return ""
    longer = f"{events[0]}."
    return next((event for event in events if event.startswith(longer)), events[0])


def concerned_role(event: str) -> str:
    """Return the role that exactly those hold whom ``event``, a concrete name, is about; empty if none tells."""
    match event.split("."):
        case ["teams", _, "memberships", membership, *_]:
            return f"member:{membership}"
        case ["teams", team, "delete"]:
            return f"team:{team}"
        case _:
            return ""


def may_revoke(event: str) -> bool:
    """Tell whether ``event``, a concrete name, may announce that those it concerns lost something."""
    match event.split("."):
        case ["users", _, "delete" | "update"] | ["users", _, "sessions", "delete"]:
            return True
        case ["users", _, "update", attribute]:
            return attribute in _LOSING_UPDATES
        case ["users", _, "sessions", _, "delete"]:
            return True
        case ["teams", _, "memberships", _, "delete" | "update", *_] | ["teams", _, "delete"]:
            return True
        case _:
            return False


def without_revoked(identity: Identity, event: str, payload: Mapping[str, Any]) -> Identity:
    """Return ``identity`` less what ``event`` revokes; the same object if that is nothing.

    Args:
        identity: Who is concerned: the subject of the event, or a holder of :func:`concerned_role`.
        event: The precise name, such as ``teams.T.memberships.M.delete`` or ``users.U.update.labels``.
        payload: The resource, as published: a user for ``users.*``, a membership for ``teams.*``.
    """
    segments = event.split(".")
    match segments:
        case ["users", _, "delete"]:
            return GUEST
        case ["users", _, "update", *_] if payload.get("status") is False:
            return GUEST
        case ["users", _, "update", "labels"]:
            return _keeping_labels(identity, payload.get("labels"))
        case ["teams", team, "memberships", membership, "delete"]:
            return _without_team(identity, team, membership)
        case ["teams", team, "delete"]:
            return _without_team(identity, team)
        case _:
            return identity


def _keeping_labels(identity: Identity, labels: object) -> Identity:
    """Drop the label roles that are not among ``labels``."""
    kept = {f"label:{label}" for label in labels} if isinstance(labels, list) else set()
    lost = {role for role in identity.roles if role.startswith("label:")} - kept
    return _without(identity, lost)


def _without_team(identity: Identity, team: str, membership: str = "") -> Identity:
    """Drop the roles that come from being in ``team``."""
    lost = {
        role
        for role in identity.roles
        if role in (f"team:{team}", f"member:{membership}") or role.startswith(f"team:{team}/")
    }
    return _without(identity, lost)


def _without(identity: Identity, lost: set[str]) -> Identity:
    return msgspec.structs.replace(identity, roles=identity.roles - lost) if lost else identity
