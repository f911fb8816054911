"""The policies of a project, as servers are shown them: what the project says, or else what holds for all. Pure."""

from collections.abc import Mapping
from typing import Any

from typing_extensions import TypedDict

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "password-history": {"total": 0},
    "password-personal-data": {"enabled": False},
    "session-duration": {"duration": 31_536_000},
    "session-invalidation": {"enabled": True},
    "session-limit": {"total": 10},
    "user-limit": {"total": 0},
    "membership-privacy": {
        "userId": True,
        "userEmail": True,
        "userPhone": True,
        "userName": True,
        "userMFA": True,
        "userAccessedAt": False,
    },
}
"""Every policy by its ID, with its members; 0 is no limit."""


class PolicyList(TypedDict):
    """The policies of a project."""

    total: int
    policies: list[dict[str, Any]]


def policy_model(
    policy_id: str, stored: Mapping[str, Any], defaults: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the model of a policy.

    Args:
        policy_id: one of :data:`DEFAULTS`.
        stored: the column ``policies`` of the project.
        defaults: what the settings say otherwise than :data:`DEFAULTS`.
    """
    return {
        "$id": policy_id,
        **DEFAULTS[policy_id],
        **defaults.get(policy_id, {}),
        **stored.get(policy_id, {}),
    }
