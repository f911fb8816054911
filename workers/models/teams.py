"""Teams and their memberships, as clients are shown them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from typing_extensions import TypedDict

from workers.models.people import Row

Team = TypedDict(
    "Team",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "name": str,
        "total": int,
        "prefs": dict[str, Any],
    },
)
"""A team; ``total`` counts its confirmed members."""


class TeamList(TypedDict):
    """A page of teams."""

    total: int
    teams: list[Team]


Membership = TypedDict(
    "Membership",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "userId": str,
        "userName": str,
        "userEmail": str,
        "userPhone": str,
        "teamId": str,
        "teamName": str,
        "invited": str,
        "joined": str,
        "confirm": bool,
        "mfa": bool,
        "userAccessedAt": str,
        "roles": list[str],
    },
)
"""Somebody's place in a team. Members about the person are empty where :class:`MembershipPrivacy` hides them."""


class MembershipList(TypedDict):
    """A page of memberships."""

    total: int
    memberships: list[Membership]


@dataclass(frozen=True, slots=True)
class MembershipPrivacy:
    """What of a person is visible in their memberships; the defaults are those of a new project.

    Of somebody who has not joined yet it is only what whoever invited them said, unless ``before_joining``.
    """

    user_id: bool = True
    user_name: bool = True
    user_email: bool = True
    user_phone: bool = True
    user_mfa: bool = True
    user_accessed_at: bool = False
    before_joining: bool = False

    @classmethod
    def from_policies(cls, policies: Mapping[str, Any]) -> "MembershipPrivacy":
        """Return what the policies of a project say, the ``policies`` column of ``projects``."""
        said = policies.get("membership-privacy", {})
        return cls(
            user_id=said.get("userId", True),
            user_name=said.get("userName", True),
            user_email=said.get("userEmail", True),
            user_phone=said.get("userPhone", True),
            user_mfa=said.get("userMFA", True),
            user_accessed_at=said.get("userAccessedAt", False),
        )


EVERYTHING = MembershipPrivacy(user_accessed_at=True, before_joining=True)
"""What servers see."""


def team_model(row: Row) -> Team:
    """Return the model of a row of ``teams``."""
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "name": row["name"],
        "total": row["total"],
        "prefs": row["prefs"],
    }


def membership_model(
    row: Row, *, user: Row | None, team_name: str, shows: MembershipPrivacy = EVERYTHING
) -> Membership:
    """Return the model of a row of ``memberships``.

    Args:
        row: the membership.
        user: the member's row of ``users``; None when the user is gone.
        team_name: the name of the team.
        shows: what of the person is visible to whom it is shown.
    """
    person: Row = user or {}
    if not row["confirmed"] and not shows.before_joining:
        person = {"name": row["invited_name"], "email": row["invited_email"]}
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "userId": row["user_id"] if shows.user_id else "",
        "userName": (person.get("name") or "") if shows.user_name else "",
        "userEmail": (person.get("email") or "") if shows.user_email else "",
        "userPhone": (person.get("phone") or "") if shows.user_phone else "",
        "teamId": row["team_id"],
        "teamName": team_name,
        "invited": row["invited_at"],
        "joined": row["joined_at"] or "",
        "confirm": row["confirmed"],
        "mfa": bool(person.get("mfa")) if shows.user_mfa else False,
        "userAccessedAt": (person.get("accessed_at") or "") if shows.user_accessed_at else "",
        "roles": row["roles"],
    }
