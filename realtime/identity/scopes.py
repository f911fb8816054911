"""What an API key may read, as internal roles: one table of scopes, roles and channels. Pure.

A key has no user, so the roles of an event say nothing about it. Instead every event is also readable by the
internal roles :func:`roles_of_channels` returns, and a key's connection holds those of its scopes (wire
specification 16.7). No event can name an internal role: none is a valid role string.
"""

from collections.abc import Iterable

READ_ALL = "keys"
"""The internal role of a key that may read every event of its project."""

READ_NOTHING = "keys:none"
"""The internal role of a key whose scopes name no channel."""

_ALL_SCOPES = frozenset({"*", "realtime.read"})

_SCOPES = {
    "keys:rows": ("rows.read", "documents.read"),
    "keys:files": ("files.read",),
    "keys:account": ("users.read",),
    "keys:teams": ("teams.read",),
    "keys:executions": ("execution.read", "executions.read"),
    "keys:presences": ("presences.read",),
}
_CHANNELS = {
    "rows": "keys:rows",
    "documents": "keys:rows",
    "files": "keys:files",
    "account": "keys:account",
    "teams": "keys:teams",
    "memberships": "keys:teams",
    "executions": "keys:executions",
    "presences": "keys:presences",
}
_ROLE_OF_SCOPE = {scope: role for role, scopes in _SCOPES.items() for scope in scopes}


def roles_of_key(scopes: Iterable[str]) -> frozenset[str]:
    """Return the internal roles that a key with ``scopes`` holds; never empty."""
    scopes = tuple(scopes)
    if not _ALL_SCOPES.isdisjoint(scopes):
        return frozenset({READ_ALL})
    return frozenset(_ROLE_OF_SCOPE[scope] for scope in scopes if scope in _ROLE_OF_SCOPE) or frozenset(
        {READ_NOTHING}
    )


def roles_of_channels(channels: Iterable[str]) -> frozenset[str]:
    """Return the internal roles that may read an event published on ``channels``."""
    return frozenset(_CHANNELS[channel] for channel in channels if channel in _CHANNELS) | {READ_ALL}
