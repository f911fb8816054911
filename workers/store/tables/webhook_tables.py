"""Webhooks: where to send the events of a project."""

from sqlalchemy import Boolean, Column, Integer, Text, UniqueConstraint

from workers.store.tables.base import ID, Json, sequence, table, times

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
    # What the last failure looked like; empty when there was none.
    Column("logs", Text, nullable=False, default=""),
    # How many deliveries failed, one after another, up to now.
    Column("attempts", Integer, nullable=False, default=0),
    *times(),
    UniqueConstraint("project_id", "id"),
)
