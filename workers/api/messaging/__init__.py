"""The Messaging service: providers, topics and their subscribers, and messages to people.

API keys do everything here; users subscribe their own targets to topics. Messages are sent by
:mod:`workers.messaging`. Source: the messaging reference.
"""

from workers.api.dispatch import joined
from workers.api.messaging import composing, messages, providers, subscribers, topics

router = joined(providers.router, topics.router, subscribers.router, composing.router, messages.router)
"""Every route of the service."""
