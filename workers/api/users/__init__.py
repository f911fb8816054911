"""The users service: what a server, with an API key, may do to anybody's account.

Every route needs the scope ``users.read`` or ``users.write``; those for sessions and targets are also open to keys with
the scopes of these alone. Source: the Users page of the API reference.
"""

from workers.api.dispatch import joined
from workers.api.users import creation, factors, history, sessions, targets, updates, users

# Identities first: their paths have the form of a user's.
router = joined(
    history.router,
    creation.router,
    users.router,
    updates.router,
    sessions.router,
    factors.router,
    targets.router,
)
"""Every route of the service."""
