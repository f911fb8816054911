"""Channels: which ones a client joins under the names it asks for, and wildcard channels.

A channel's name is compared as it is; those that events reach are the templates in
:mod:`realtime.events.catalogue`. A *wildcard channel* has ``*`` where a template has an ID,
``databases.main.tables.*.rows``, and stands for all channels that differ from it there only. An index finds
the wildcard channels that match an event without looking at each: it keeps the :class:`Shape` of every
wildcard channel in use (there are few) and asks :func:`star` for the one name of that shape that would match.
Names are split at dots, so a channel with an ID that has dots is matched by its plain name only. The module
is pure. Sources: wire specification 5.1 to 5.6 and 16.9.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from realtime.events.catalogue import ACTIONS, channel_templates

_STAR = "*"
_ACCOUNT = "account"
_ACCOUNT_ACTIONS = frozenset(f"{_ACCOUNT}.{action}" for action in ACTIONS)


class Shape(NamedTuple):
    """Where a wildcard channel has its stars."""

    segments: int
    """The number of segments of its name."""
    stars: tuple[int, ...]
    """The positions of the segments that are ``*``, from 0, ascending."""


def convert(names: Sequence[str], user_id: str) -> list[str]:
    """Return the channels that a client joins under the names it asked for (wire specification 5.2).

    A user's ``account`` also joins ``account.<user>``, and ``account.update`` and the like become
    ``account.<user>.update``, at the end of the list; all other names that begin with ``account.`` are
    dropped, so nobody can name another user's. A guest keeps ``account`` and ``account.update`` as they are;
    they become the user's by :func:`rebind`.

    Args:
        names: what the client asked for; repeated names count once.
        user_id: the user; empty for a guest.
    """
    kept: dict[str, None] = {}
    own: dict[str, None] = {}
    for name in names:
        if name == _ACCOUNT:
            kept[name] = None
            if user_id:
                own[f"{_ACCOUNT}.{user_id}"] = None
        elif name in _ACCOUNT_ACTIONS:
            if user_id:
                own[_of_user(name, user_id)] = None
            else:
                kept[name] = None
        elif not name.startswith(f"{_ACCOUNT}."):
            kept[name] = None
    return list(kept | own)


def rebind(channel: str, old_user: str, new_user: str) -> str:
    """Return the channel that ``channel`` becomes when its connection changes user (wire specification 5.3).

    Args:
        channel: a channel that the connection joined.
        old_user: its user until now; empty for a guest.
        new_user: its user from now on; if empty or the same, nothing changes.
    """
    if not new_user or new_user == old_user:
        return channel
    if not old_user:
        return _of_user(channel, new_user) if channel in _ACCOUNT_ACTIONS else channel
    own = f"{_ACCOUNT}.{old_user}"
    if channel == own or (channel.startswith(own) and f"{_ACCOUNT}{channel[len(own) :]}" in _ACCOUNT_ACTIONS):
        return f"{_ACCOUNT}.{new_user}{channel[len(own) :]}"
    return channel


def is_wildcard(channel: str) -> bool:
    """Tell whether ``channel`` has ``*`` in place of an ID, in a channel that events can reach (16.9).

    Everything else is a plain name that matches itself only: ``rows.*`` (no ID there), ``teams.re*`` (part of
    an ID), ``orders.*`` (no such channel). Accounts have no wildcards.
    """
    segments = channel.split(".")
    return _STAR in segments and any(
        all(
            segment == word if word is not None else segment != ""
            for word, segment in zip(template, segments, strict=True)
        )
        for template in _TEMPLATES.get(len(segments), ())
    )


def shape_of(channel: str) -> Shape:
    """Return the shape of a wildcard channel."""
    segments = channel.split(".")
    return Shape(len(segments), tuple(at for at, segment in enumerate(segments) if segment == _STAR))


def star(channel_segments: Sequence[str], shape: Shape) -> str | None:
    """Return the one wildcard channel of a shape that would match a channel of an event.

    Args:
        channel_segments: the segments of the event's channel.
        shape: the shape of wildcard channels that are in use.

    Returns:
        The wildcard channel; None if the number of segments differs.
    """
    if len(channel_segments) != shape.segments:
        return None
    segments = list(channel_segments)
    for at in shape.stars:
        segments[at] = _STAR
    return ".".join(segments)


def _templates() -> Mapping[int, list[list[str | None]]]:
    """Return the templates that can have wildcards, as segments with None for IDs, by their number."""
    templates: dict[int, list[list[str | None]]] = {}
    for template in channel_templates():
        segments = [None if segment.startswith("[") else segment for segment in template.split(".")]
        if None in segments and segments[0] != _ACCOUNT:
            templates.setdefault(len(segments), []).append(segments)
    return templates


_TEMPLATES = _templates()


def _of_user(channel: str, user_id: str) -> str:
    """Return ``account.<user>.<action>`` for ``account.<action>``."""
    return f"{_ACCOUNT}.{user_id}{channel[len(_ACCOUNT) :]}"
