"""What the hub knows of projects and people: the records of the read model, and the identity they add up to.

The records are written by whoever owns the truth (the API, or your backend) and read by hubs; each is stored
as JSON. The module is pure. Sources: wire specification 2.4 (users and sessions), 2.6 (platforms), 3.7
(account).
"""

from typing import Any

import msgspec

from realtime.permissions import roles_of_user

CONSOLE = "console"
"""The project of those who run the projects, and of connections that name none. It exists without a record."""


class Platform(msgspec.Struct, frozen=True, omit_defaults=True):
    """A client application registered with a project; its host name or key makes an origin acceptable."""

    type: str
    """``web``, ``flutter-web``, ``unity`` (by host name), or an app type such as ``apple-ios`` (by key)."""
    hostname: str = ""
    """For web types: a host name, ``*``, or ``*.example.com``."""
    key: str = ""
    """For app types: the bundle ID or package name; a custom URL scheme for type ``scheme``."""
    name: str = ""


class DevKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """A secret that lets a development client connect from any origin (wire specification 2.5)."""

    id: str
    secret_hash: str
    expires_at: float | None = None
    """Unix time in seconds; None never expires."""


class Project(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tenant: its own events, identities, origins and limits."""

    id: str
    name: str = ""
    team_id: str = ""
    """The console team that owns it; empty outside a console."""
    region: str = ""
    """Where it may be reached; empty means everywhere."""
    websocket_enabled: bool = True
    platforms: tuple[Platform, ...] = ()
    dev_keys: tuple[DevKey, ...] = ()
    managed: bool = False
    """Whether the API owns the project, with its people, in its database. It serves no others: whoever else wrote their
    users is not to have them replaced by strangers who sign up."""
    disabled_services: tuple[str, ...] = ()
    """Parts of the API that are closed to all but servers, by the first word of their paths: ``account``, ``teams``."""
    schema_version: int = 0
    """Grows with each change of the project's databases and tables, from a number that no former project of this ID
    came to. API processes, which read the record with each request, tell by it whether what they know of a table still
    holds; hubs do not look at it."""


class Session(msgspec.Struct, frozen=True, omit_defaults=True):
    """A login of a user. The secret itself is never stored, only its hash."""

    id: str
    secret_hash: str
    """Lower-case hex of SHA3-512, or of SHA-256 (wire specification 10.1)."""
    provider: str
    expires_at: float
    """Unix time in seconds."""
    mfa_pending: bool = False
    """Whether a second factor is still to be shown; until then it vouches for nobody."""


class Membership(msgspec.Struct, frozen=True, omit_defaults=True):
    """A user's place in a team."""

    id: str
    """Empty for one that a token claims without its ID; it gives no ``member:`` role."""
    team_id: str
    roles: tuple[str, ...] = ()
    confirmed: bool = True
    """False for an invitation that was not accepted: it gives no roles."""


class User(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person, with all that decides what they may read."""

    id: str
    name: str = ""
    email: str = ""
    phone: str = ""
    email_verified: bool = False
    phone_verified: bool = False
    active: bool = True
    """False when blocked: the person is treated as a guest."""
    labels: tuple[str, ...] = ()
    memberships: tuple[Membership, ...] = ()
    sessions: tuple[Session, ...] = ()
    impersonator: bool = False
    tokens_from: float = 0.0
    """Tokens without a session that say they were issued before do not stand for this person: Unix time in seconds of
    the newest password, or of the user. The ID may have been somebody else's before."""
    account: dict[str, Any] = {}
    """Further members of the account object that clients are shown (dates, prefs, targets, ...)."""

    def roles(self) -> frozenset[str]:
        """Return every role this person holds (wire specification 8.1); a blocked user is a guest."""
        if not self.active:
            return roles_of_user("")
        return roles_of_user(
            self.id,
            verified=self.email_verified or self.phone_verified,
            memberships=[(m.id, m.team_id, m.roles) for m in self.memberships if m.confirmed],
            labels=self.labels,
        )


class ApiKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """A server's credential. Stored under the hash of its secret."""

    id: str
    name: str = ""
    scopes: tuple[str, ...] = ()
    """Scope names such as ``rows.read`` or ``events.write``; ``*`` stands for all of them."""
    expires_at: float | None = None
    """Unix time in seconds; None never expires."""

    def allows(self, scope: str) -> bool:
        """Tell whether the key has ``scope``."""
        return "*" in self.scopes or scope in self.scopes


class Identity(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who a connection acts as, at one moment. Replaced, never changed."""

    roles: frozenset[str]
    user_id: str = ""
    """Whom the connection acts as; empty for guests and for API keys."""
    session_id: str = ""
    """The session that vouches for it; empty for tokens without a session, keys and guests."""
    key_id: str = ""
    account: dict[str, Any] | None = None
    """The account object for ``connected`` and ``authentication`` frames; None for guests and keys."""
    expires_at: float | None = None
    """When the session, token or key ends, Unix time in seconds; None never."""
    issued_at: float | None = None
    """When the token was issued, if there is no session and it says so; Unix time in seconds."""
    stored: bool = False
    """Whether the user or key is in the read model, so that a change there concerns this identity."""
    impersonated: bool = False
    impersonator_id: str = ""
    """Who really connected, if impersonated: the owner of the session, whose changes concern it too."""
    home: str = ""
    """The project whose user this is, when not the connection's own (``console`` in admin mode)."""
    depth: int = 0
    """How many functions, one setting off the next, led to whoever was given the token; 0 for other credentials."""

    @property
    def actor_id(self) -> str:
        """Return the ID of the user who showed the credential; empty for guests and keys."""
        return self.impersonator_id or self.user_id


GUEST = Identity(roles=frozenset({"guests"}))
"""Anybody who showed no valid credential."""
