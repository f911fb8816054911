"""The Webhooks service: which URLs are sent which events, and what came of it. For API keys and the root key.

What is written here reaches those who deliver by :mod:`realtime.triggers`. Sources: wire specification 7.4 and 11.1,
and the Webhooks reference.
"""

from workers.api.dispatch import joined
from workers.api.webhooks import aliases, deliveries, delivery_aliases, webhooks

router = joined(webhooks.router, deliveries.router, aliases.router, delivery_aliases.router)
"""Every route of the service."""
