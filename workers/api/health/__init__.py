"""The Health service: whether the server and what it stands on work, and how much waits to be done."""

from workers.api.dispatch import joined
from workers.api.health import parts, queues

router = joined(parts.router, queues.router)
"""Every route of the service."""
