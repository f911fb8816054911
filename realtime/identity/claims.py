"""What the claims of a verified token say: which user it stands for, or which identity it carries itself.

Two forms, told apart by ``sub``:

* ``userId`` and optionally ``sessionId``: a user of the read model (wire specification 2.4, 10.5). In tokens that
  functions are given, ``depth`` says how many of them, one setting off the next, led to it;
* ``sub``: an identity of its own, for which no user record is needed (16.8).

Claims of an identity of its own, all but ``sub`` optional:

=============  =============================================================================
``sub``        the user's ID, as in ``user:<ID>``
``name``       shown in the account object
``email``      likewise
``verified``   true gives ``users/verified`` and ``user:<ID>/verified``
``teams``      a list; each is ``"team"``, ``"team/role"`` or ``{"id", "roles", "membershipId"}``
``labels``     a list of strings
=============  =============================================================================

Both forms may be limited to projects by ``project`` (an ID) or ``projects`` (a list of IDs); without them a
token is good in each project whose hub knows the signing key, save the console: there an identity of its own
must name it. The module is pure.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec

from realtime.errors import InvalidCredentialError
from realtime.identity.model import CONSOLE, Membership, User
from realtime.permissions import is_valid_id

MAX_DEPTH = 1_000_000
"""What a token may say of chains at most: more than there can be, less than a column of SQL holds."""


class UserClaims(msgspec.Struct, frozen=True, rename="camel"):
    """A token that stands for a user of the read model."""

    user_id: str
    session_id: str = ""
    """The session it was made in; empty for one that needs none (function executions)."""
    issued_at: float | None = msgspec.field(name="iat", default=None)
    """Unix time in seconds."""
    depth: Annotated[int, msgspec.Meta(ge=0, le=MAX_DEPTH)] = 0
    """How many functions, one setting off the next, led to whoever was given it; 0 if it was given to no function."""


class _Team(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    roles: tuple[str, ...] = ()
    membership_id: str = ""

    @classmethod
    def parse(cls, text: str) -> "_Team":
        """Parse ``<team>`` or ``<team>/<role>``."""
        team_id, slash, role = text.partition("/")
        return cls(team_id, (role,) if slash else ())


class _OwnClaims(msgspec.Struct, frozen=True):
    sub: str
    name: str = ""
    email: str = ""
    verified: bool = False
    teams: tuple[str | _Team, ...] = ()
    labels: tuple[str, ...] = ()


class _ProjectLimit(msgspec.Struct, frozen=True):
    project: str = ""
    projects: tuple[str, ...] = ()


_Form = TypeVar("_Form", UserClaims, _OwnClaims, _ProjectLimit)


def parse_claims(claims: Mapping[str, Any], project_id: str) -> UserClaims | User:
    """Return what a verified token stands for in the project ``project_id``.

    Args:
        claims: as :meth:`realtime.identity.jwt.TokenVerifier.verify` returns them. Null counts as absent,
            except in a limit to projects.
        project_id: the project that the connection asked for.

    Returns:
        :class:`UserClaims` for a user to look up; a :class:`~realtime.identity.model.User` for an identity of
        the token's own.

    Raises:
        InvalidCredentialError: a claim is missing or has the wrong form, or the token is for other projects.
            The text names the claim, never its value.
    """
    if not _is_for(project_id, claims):
        raise InvalidCredentialError("Invalid token: Not for this project")
    present = {name: value for name, value in claims.items() if value is not None}
    if "sub" in present:
        return _user(_convert(present, _OwnClaims))
    return _convert(present, UserClaims)


def _is_for(project_id: str, claims: Mapping[str, Any]) -> bool:
    if "project" in claims or "projects" in claims:
        limit = _convert(claims, _ProjectLimit)
        return project_id == limit.project or project_id in limit.projects
    # Team IDs of an application's own must not pass for teams of the console.
    return project_id != CONSOLE or "sub" not in claims


def _convert(claims: Mapping[str, Any], form: type[_Form]) -> _Form:
    try:
        return msgspec.convert(claims, form)
    except msgspec.ValidationError as error:
        raise InvalidCredentialError(f"Invalid token: {error}") from error


def _user(claims: _OwnClaims) -> User:
    teams = [_Team.parse(team) if isinstance(team, str) else team for team in claims.teams]
    _check_ids("sub", claims.sub)
    _check_ids("labels", *claims.labels)
    for team in teams:
        _check_ids("teams", team.id, *team.roles, *filter(None, [team.membership_id]))
    return User(
        claims.sub,
        name=claims.name,
        email=claims.email,
        email_verified=claims.verified,
        labels=claims.labels,
        memberships=tuple(Membership(team.membership_id, team.id, team.roles) for team in teams),
    )


def _check_ids(claim: str, *ids: str) -> None:
    """Refuse what would not stay inside its own role: a slash in a team's ID, a colon in a label."""
    if not all(map(is_valid_id, ids)):
        raise InvalidCredentialError(f"Invalid token: `{claim}` holds what is not a valid ID")
