"""Webhooks: where to send the events of a project."""

from sqlalchemy import Boolean, Column, Integer, Text, UniqueConstraint

from workers.store.tables.base import ID, TIME, Json, sequence, table, times

webhooks = table(
    "webhooks",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    Column("name", Text, nullable=False),
    # As given: it is part of what is signed.
    Column("url", Text, nullable=False),
    # Names as realtime.events.names.validate_subscription lets them through.
    Column("events", Json, nullable=False),
    # Whether the certificate of the endpoint is verified.
    Column("tls", Boolean, nullable=False),
    Column("auth_username", Text, nullable=False, default=""),
    # Both sealed, as workers.store.sealing does it.
    Column("auth_password", Text, nullable=False, default=""),
    Column("secret", Text, nullable=False),
    Column("enabled", Boolean, nullable=False, default=True),
    # What signed before, sealed, and until when it still does; empty and None if there is nothing.
    Column("former_secret", Text, nullable=False, server_default=""),
    Column("former_secret_until", TIME),
    # What the last failure looked like; empty when there was none.
    Column("logs", Text, nullable=False, default=""),
    # How many attempts failed, one after another, up to now; and since when. None while the last one did not.
    Column("attempts", Integer, nullable=False, default=0),
    Column("failing_since", TIME),
    *times(),
    UniqueConstraint("project_id", "id"),
)
