"""Presences over HTTP: set, list, read, change and delete them (wire specification 13.2).

They are in Redis, not in the database; :mod:`realtime.presences` keeps them.
"""

from workers.api.dispatch import joined
from workers.api.presences import lists, presences

router = joined(lists.router, presences.router)
"""Every route of the service."""
