"""The Avatars service: pictures for people and things that have none of their own.

Pictures that would have to come along (flags, logos of browsers and credit cards) and screenshots of pages are not
there. Source: the Avatars reference.
"""

from workers.api.avatars import drawn, missing, remote
from workers.api.dispatch import joined

router = joined(drawn.router, remote.router, missing.router)
"""Every route of the service."""
