"""Deliveries to webhooks: the events that are sent, what is to be sent to which webhook, and each attempt at it."""

from sqlalchemy import Boolean, Column, Double, Index, Integer, LargeBinary, String, Text, UniqueConstraint

from workers.store.tables.base import ID, TIME, Json, Sequence, sequence, table, times

webhook_events = table(
    "webhook_events",
    sequence(),
    Column("project_id", ID, nullable=False),
    # The event's position in the project's log.
    Column("event_id", String(41), nullable=False),
    # Every name of it; the first has no wildcard.
    Column("names", Json, nullable=False),
    # Who acted; empty for guests, API keys and whoever is not known.
    Column("actor_id", ID, nullable=False),
    # The body of the requests, JSON: once, however many webhooks are sent it.
    Column("payload", LargeBinary, nullable=False),
    Column("created_at", TIME, nullable=False),
    UniqueConstraint("project_id", "event_id"),
)

deliveries = table(
    "deliveries",
    sequence(),
    Column("project_id", ID, nullable=False),
    # Made of the webhook's and the event's, so that recording an event again records nothing.
    Column("id", String(36), nullable=False),
    Column("webhook_id", ID, nullable=False),
    # Of the webhook's row: one that is made anew under the same ID is another webhook.
    Column("webhook_seq", Sequence, nullable=False),
    Column("event_id", String(41), nullable=False),
    # The first name of the event.
    Column("event", Text, nullable=False),
    # pending, delivered, or dead: a dead letter, that nobody will deliver unless somebody asks for it.
    Column("status", String(16), nullable=False),
    # How many attempts were begun, and how many of them failed since somebody last asked for it.
    Column("attempts", Integer, nullable=False),
    Column("round", Integer, nullable=False),
    # Of the last attempt: the status code, 0 for no response; and what went wrong, empty for nothing.
    Column("response_status", Integer, nullable=False),
    Column("error", Text, nullable=False),
    # When the next attempt is to be made, or, while one is being made, when somebody else is to make it. None once it
    # is over.
    Column("due_at", TIME),
    # Whether an attempt is being made; until it is due, by whoever claimed it.
    Column("held", Boolean, nullable=False, default=False),
    *times(),
    UniqueConstraint("project_id", "id"),
    Index(None, "project_id", "webhook_id", "seq"),
    Index(None, "project_id", "event_id"),
)
# By which those who deliver find, for each webhook, what is to be done first. What is over is not in it.
Index(
    "ix_deliveries_due",
    deliveries.c.webhook_seq,
    deliveries.c.due_at,
    deliveries.c.seq,
    sqlite_where=deliveries.c.due_at.is_not(None),
    postgresql_where=deliveries.c.due_at.is_not(None),
)
# By which dead letters are counted, made anew and removed, however many deliveries arrived.
Index(
    "ix_deliveries_dead",
    deliveries.c.project_id,
    deliveries.c.webhook_id,
    deliveries.c.seq,
    sqlite_where=deliveries.c.status == "dead",
    postgresql_where=deliveries.c.status == "dead",
)

attempts = table(
    "delivery_attempts",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("delivery_id", String(36), nullable=False),
    # From 1 on; one is missing if whoever made it died, and nobody knows what came of it.
    Column("number", Integer, nullable=False),
    Column("started_at", TIME, nullable=False),
    Column("duration_s", Double, nullable=False),
    # 0 for no response.
    Column("response_status", Integer, nullable=False),
    # The beginning of the body of the response, as text.
    Column("response", Text, nullable=False),
    # What went wrong; empty for nothing.
    Column("error", Text, nullable=False),
    UniqueConstraint("project_id", "delivery_id", "number"),
)
