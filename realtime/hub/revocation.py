"""Which events take roles away, from whom, and what (wire specification 16.8 and 16.12). Pure.

An identity in the read model is simply read again. One that came in a token has no record, so the events that its
backend publishes are all there is: they can take roles away at once; to gain some, the client needs a new token.
What was revoked is not remembered: a token that is still valid restores it, so the backend must not issue, and soon
let expire, tokens that say too much.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from realtime.identity.model import GUEST, Identity

# IDs may hold dots, so concrete names are taken apart by the words between the IDs.
_USER_DELETE = re.compile(r"users\.(?P<user>.+)\.delete")
_USER_UPDATE = re.compile(r"users\.(?P<user>.+?)\.update(?:\.(?P<attribute>[a-z]+))?")
_SESSION_DELETE = re.compile(r"users\.(?P<user>.+)\.sessions(?:\.(?P<session>.+))?\.delete")
_MEMBERSHIP = re.compile(
    r"teams\.(?P<team>.+)\.memberships\.(?P<membership>.+?)\.(?P<action>create|update|delete)(?:\.[a-z]+)?"
)
_TEAM_DELETE = re.compile(r"teams\.(?P<team>.+)\.delete")

_LOSING_UPDATES = frozenset(
    {None, "email", "impersonator", "labels", "password", "phone", "status", "verification"}
)
"""What of a user may be updated so that roles are lost; None stands for a name that does not say."""


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
    if found := _MEMBERSHIP.fullmatch(event):
        return f"member:{found['membership']}"
    if found := _TEAM_DELETE.fullmatch(event):
        return f"team:{found['team']}"
    return ""


def announces(event: str, lost: Collection[str]) -> bool:
    """Tell whether ``event``, for which :func:`may_revoke` holds, is the one that says why ``lost`` roles are gone.

    Identities may be read when more has happened than events have told yet: then another one says it.
    """
    if role := concerned_role(event):
        return (role in lost) == event.endswith(".delete")
    if _USER_UPDATE.fullmatch(event):
        return not lost or not all(role.startswith(("team:", "member:")) for role in lost)
    return True


def may_revoke(event: str) -> bool:
    """Tell whether ``event``, a concrete name, may announce that those it concerns lost something."""
    if found := _MEMBERSHIP.fullmatch(event):
        return found["action"] != "create"
    if found := _USER_UPDATE.fullmatch(event):
        return found["attribute"] in _LOSING_UPDATES
    return any(pattern.fullmatch(event) for pattern in (_USER_DELETE, _SESSION_DELETE, _TEAM_DELETE))


def without_revoked(identity: Identity, event: str, payload: Mapping[str, Any]) -> Identity:
    """Return ``identity`` less what ``event`` revokes; the same object if that is nothing.

    Args:
        identity: Who is concerned: the subject of the event, or a holder of :func:`concerned_role`.
        event: The precise name, such as ``teams.T.memberships.M.delete`` or ``users.U.update.labels``.
        payload: The resource, as published: a user for ``users.*``, a membership for ``teams.*``.
    """
    if found := _MEMBERSHIP.fullmatch(event):
        return _after_membership(identity, found, payload)
    if found := _TEAM_DELETE.fullmatch(event):
        return _without_team(identity, found["team"])
    if found := _USER_UPDATE.fullmatch(event):
        return _after_update(identity, found["attribute"], payload)
    if _USER_DELETE.fullmatch(event) and not _SESSION_DELETE.fullmatch(event):
        return GUEST
    return identity


def _after_membership(identity: Identity, name: re.Match[str], payload: Mapping[str, Any]) -> Identity:
    """Drop what a membership no longer gives: all of it, or the roles in the team that are not listed any more."""
    team = name["team"]
    if name["action"] == "delete":
        return _without_team(identity, team, name["membership"])
    roles = payload.get("roles")
    if name["action"] == "create" or not isinstance(roles, list):
        return identity
    kept = {f"team:{team}/{role}" for role in roles}
    return _without(identity, {role for role in identity.roles if role.startswith(f"team:{team}/")} - kept)


def _after_update(identity: Identity, attribute: str | None, payload: Mapping[str, Any]) -> Identity:
    """Drop what a user's new state no longer gives."""
    if payload.get("status") is False:
        return GUEST
    if attribute == "labels":
        return _keeping_labels(identity, payload.get("labels"))
    if attribute == "verification" and not (
        payload.get("emailVerification") or payload.get("phoneVerification")
    ):
        return _without(identity, {f"user:{identity.user_id}/verified", "users/verified"} & identity.roles)
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
