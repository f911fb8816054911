"""The Webhooks service: which URLs are sent which events. For API keys and the root key; users have no part in it.

What is written here reaches those who deliver by :mod:`realtime.triggers`. Sources: wire specification 7.4 and 11.1,
and the Webhooks reference.
"""

from workers.api.dispatch import joined
from workers.api.webhooks import aliases, webhooks

router = joined(webhooks.router, aliases.router)
"""Every route of the service."""
