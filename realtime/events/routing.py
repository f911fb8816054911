"""Routing: which channels an event reaches, who may read it there, and in which project.

Compiles the rows of the catalogue into plans, one for each pattern, and fills in the IDs of an event. The
module is pure. Source: wire specification 5.4 and 5.5.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from realtime.errors import InvalidEventError
from realtime.events.catalogue import (
    ACTIONS,
    PAYLOAD_IDS,
    PAYLOAD_READERS,
    PROJECT_TEAM,
    SYNONYMS,
    Target,
    narrow,
)
from realtime.events.names import parse_name, parse_pattern
from realtime.permissions import is_valid_id, read_roles, validate_role


@dataclass(frozen=True, slots=True)
class Route:
    """Where an event goes."""

    channels: tuple[str, ...]
    """Every channel it reaches; the ones narrowed to its action come last. Empty: it is not for realtime."""
    roles: tuple[str, ...]
    """Who may read it. Empty: no user."""
    project: Target
    """Whether it is published for its own project, for the console project, or for each of them."""
    permissions_changed: bool
    """Whether it changes the roles of its subject (wire specification 8.3)."""
    team_only: bool = False
    """Whether ``roles`` is the console team that owns the project, whose ID means nothing inside the
    project."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is known about a route before the IDs are."""

    channels: str
    """The channels, one a line, with a control character for each ID; empty for none."""
    marks: tuple[tuple[str, str], ...]
    """Which control character stands for which parameter."""
    readers: str
    target: Target
    permissions_changed: bool


def route(
    events0: str,
    payload: Mapping[str, Any],
    *,
    permissions: Sequence[str] | None = None,
    roles: Sequence[str] | None = None,
    project_id: str,
    project_team: str = "",
) -> Route:
    """Return where the event with the concrete name ``events0`` goes. See :func:`route_pattern`.

    IDs with dots cannot be read from a concrete name.

    Raises:
        InvalidEventError: the name is not in the catalogue.
        InvalidPermissionError: a role or permission is malformed.
    """
    name = parse_name(events0)
    return route_pattern(
        name.pattern,
        name.params,
        payload,
        permissions=permissions,
        roles=roles,
        project_id=project_id,
        project_team=project_team,
    )


def route_pattern(
    pattern: str,
    params: Mapping[str, str],
    payload: Mapping[str, Any],
    *,
    permissions: Sequence[str] | None = None,
    roles: Sequence[str] | None = None,
    project_id: str,
    project_team: str = "",
) -> Route:
    """Return where an event goes (wire specification 5.4 and 5.5).

    The readers are ``roles`` if given, else those that ``permissions`` let read; else what the catalogue
    says: the user, the team, the project's team, or the read permissions in ``$permissions`` of the payload.
    An event without readers keeps its channels: the hub delivers it to API keys alone.

    Args:
        pattern: the event's name with placeholders, as :func:`~realtime.events.names.retarget` returns it.
        params: the IDs, each of them valid.
        payload: the resource. The table, bucket and function in the channels are taken from its members
            ``$tableId`` or ``$collectionId``, ``bucketId`` and ``resourceId``, and from ``params`` otherwise.
        permissions: permissions of all resources that decide (row and table, file and bucket).
        roles: the readers.
        project_id: the project the event belongs to.
        project_team: the console team that owns the project; empty if nobody watches from a console.

    Raises:
        InvalidEventError: the pattern is not in the catalogue, or the project's ID is not valid.
        InvalidPermissionError: a role or permission is malformed.
    """
    plan = _plan(pattern)
    named = roles is not None or permissions is not None
    return Route(
        channels=_channels(plan, params, payload, project_id),
        roles=_readers(
            plan, params, payload, permissions=permissions, roles=roles, project_team=project_team
        ),
        project=plan.target,
        permissions_changed=plan.permissions_changed,
        team_only=plan.readers == PROJECT_TEAM and not named,
    )


@lru_cache(maxsize=4096)
def _plan(pattern: str) -> _Plan:
    parts = parse_pattern(pattern)
    delivery = parts.resources[-1].delivery
    channels = delivery.channels
    if delivery.narrowed and parts.action in ACTIONS:
        channels += narrow(channels, parts.action)
    text = "\n".join(channels)
    params = sorted({part.partition("]")[0] for part in text.split("[")[1:]})
    marks = tuple((chr(1 + position), param) for position, param in enumerate(params))
    for mark, param in marks:
        text = text.replace(f"[{param}]", mark)
    return _Plan(
        channels=text,
        marks=marks,
        readers=delivery.readers,
        target="both" if parts.action in delivery.both_on else delivery.target,
        permissions_changed=parts.action in delivery.refreshes_on,
    )


def _channels(
    plan: _Plan, params: Mapping[str, str], payload: Mapping[str, Any], project_id: str
) -> tuple[str, ...]:
    if not is_valid_id(project_id):
        raise InvalidEventError("The project's ID is not valid.")
    if not plan.channels:
        return ()
    channels = plan.channels
    for mark, param in plan.marks:
        channels = channels.replace(mark, _id_of(param, params, payload) or project_id)
    return tuple(dict.fromkeys(channels.split("\n")))


def _id_of(param: str, params: Mapping[str, str], payload: Mapping[str, Any]) -> str:
    """Return the ID for a placeholder of a channel; empty for the project of most events, which name none."""
    for member in PAYLOAD_IDS.get(param, ()):
        value = payload.get(member)
        if isinstance(value, str) and is_valid_id(value):
            return value
    return params.get(param) or params.get(SYNONYMS.get(param, param), "")


def _readers(
    plan: _Plan,
    params: Mapping[str, str],
    payload: Mapping[str, Any],
    *,
    permissions: Iterable[str] | None,
    roles: Iterable[str] | None,
    project_team: str,
) -> tuple[str, ...]:
    if roles is not None:
        return tuple(dict.fromkeys(validate_role(role) for role in roles))
    if permissions is not None:
        return tuple(read_roles(permissions))
    if not plan.channels:
        return ()
    if plan.readers == PAYLOAD_READERS:
        own = payload.get("$permissions")
        return tuple(read_roles(own)) if isinstance(own, list | tuple) else ()
    if plan.readers == PROJECT_TEAM:
        return (validate_role(f"team:{project_team}"),) if project_team else ()
    kind, _, placeholder = plan.readers.partition(":")
    return (f"{kind}:{params[placeholder[1:-1]]}",)
