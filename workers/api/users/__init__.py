"""The users service: what a server, with an API key, may do to anybody's account.

Every route needs the scope ``users.read`` or ``users.write``; those for sessions and targets are also open to keys with
the scopes of these alone. Source: the Users page of the API reference.
"""

from fastapi import APIRouter

from workers.api.users import creation, factors, history, sessions, targets, updates, users

router = APIRouter(tags=["users"])
"""Every route of the service."""

# Identities first: their paths have the form of a user's.
for _part in (history, creation, users, updates, sessions, factors, targets):
    router.include_router(_part.router)
