"""The Teams service: teams, their memberships, and invitations to them.

Whoever is in a team may read it and see who else is; its owners may change it. A right follows from the roles of the
caller (``team:T``, ``team:T/owner``), as hubs know them; API keys have every right. To those who are not in it, a team
does not exist. Source: the Teams reference.
"""

from workers.api.dispatch import joined
from workers.api.teams import invitations, memberships, teams

router = joined(teams.router, invitations.router, memberships.router)
"""Every route of the service."""
