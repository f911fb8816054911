"""The records of the triggers' read model: what a worker has to know of a webhook or function to act on an event.

The API writes them when they change in its database; workers read them from Redis, and need no database password for
it. The module is pure. Sources: wire specification 11 and 12.
"""

import msgspec


class Webhook(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the events of a project are sent to."""

    id: str
    name: str
    url: str
    """As it was given: signatures are made over it."""
    events: tuple[str, ...]
    """The names that it is called for, each of which may have ``*`` for IDs."""
    secret: str
    """Signs what is sent; sealed."""
    enabled: bool = True
    tls: bool = False
    """Whether the endpoint's certificate is verified."""
    auth_username: str = ""
    auth_password: str = ""
    """For HTTP basic authentication, sealed; sent only if there is a name too."""
    former_secret: str = ""
    """What signed before; sealed, empty for nothing."""
    former_secret_until: float = 0.0
    """Until when it still signs, beside the other, in Unix seconds."""


class FunctionTrigger(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a function of a project is run."""

    id: str
    name: str
    events: tuple[str, ...] = ()
    """The names that it is run for, each of which may have ``*`` for IDs."""
    schedule: str = ""
    """When else it is run: five fields of cron, in UTC; empty for never."""
    enabled: bool = True
    timeout_s: int = 15
    """How long an execution may take."""
    deployment_id: str = ""
    """The deployment that is run; empty when none is active."""
    scopes: tuple[str, ...] = ()
    """What the API key that an execution is given may do."""


class Triggers(msgspec.Struct, frozen=True):
    """All triggers of one project, at one moment."""

    version: int
    """Of the project's bucket: as long as it is the same, so are the triggers."""
    webhooks: tuple[Webhook, ...] = ()
    """By ID."""
    functions: tuple[FunctionTrigger, ...] = ()
    """By ID."""
