"""How each event of the catalogue is fired through the API: one case an event, in :data:`CASES`."""

from collections.abc import Mapping

from tests.firing import (
    databases,
    functions,
    messaging,
    presences,
    projects,
    storage,
    teams,
    users,
    webhooks,
)
from tests.firing.world import Case, Fired, World

__all__ = ["CASES", "Case", "Fired", "World"]

_FAMILIES = (users, teams, databases, storage, functions, messaging, webhooks, presences, projects)

CASES: Mapping[str, Case] = {pattern: case for family in _FAMILIES for pattern, case in family.CASES.items()}
"""How each event is fired, by its pattern."""
