"""Messages to people: who sends them, the topics that people subscribe to, and the messages themselves."""

from sqlalchemy import Boolean, Column, Index, Integer, String, Text, UniqueConstraint

from workers.store.tables.base import ID, TIME, Json, Sequence, sequence, table, times

providers = table(
    "providers",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    Column("name", Text, nullable=False),
    # Such as smtp, twilio, fcm: the kinds of workers.api.messaging.kinds.
    Column("provider", String(16), nullable=False),
    # email, sms, push.
    Column("type", String(16), nullable=False),
    Column("enabled", Boolean, nullable=False, default=False),
    # What proves who we are, and is nobody's to see: a JSON object, sealed.
    Column("secrets", Text, nullable=False, default=""),
    # What of the credentials may be seen.
    Column("credentials", Json, nullable=False),
    Column("options", Json, nullable=False),
    *times(),
    UniqueConstraint("project_id", "id"),
)

topics = table(
    "topics",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    Column("name", Text, nullable=False),
    # The roles that may subscribe by themselves.
    Column("subscribe", Json, nullable=False),
    # Subscribers, counted as they come and go.
    Column("email_total", Integer, nullable=False, default=0),
    Column("sms_total", Integer, nullable=False, default=0),
    Column("push_total", Integer, nullable=False, default=0),
    *times(),
    UniqueConstraint("project_id", "id"),
)

subscribers = table(
    "subscribers",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    Column("topic_id", ID, nullable=False),
    Column("target_id", ID, nullable=False),
    # Of the target, and never otherwise.
    Column("user_id", ID, nullable=False),
    Column("provider_type", String(16), nullable=False),
    *times(),
    UniqueConstraint("project_id", "id"),
    UniqueConstraint("project_id", "topic_id", "target_id"),
    Index(None, "project_id", "target_id"),
    Index(None, "project_id", "user_id"),
)

messages = table(
    "messages",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    # email, sms, push.
    Column("provider_type", String(16), nullable=False),
    # IDs of who gets it.
    Column("topics", Json, nullable=False),
    Column("users", Json, nullable=False),
    Column("targets", Json, nullable=False),
    # What it says, as the API shows it.
    Column("data", Json, nullable=False),
    # draft, scheduled, processing, sent, failed.
    Column("status", String(16), nullable=False),
    Column("scheduled_at", TIME),
    Column("delivered_at", TIME),
    Column("delivered_total", Integer, nullable=False, default=0),
    # For how many it failed, and texts that say why, of which only the first are kept.
    Column("failed_total", Integer, nullable=False, default=0),
    Column("delivery_errors", Json, nullable=False),
    # When somebody has to work on it next: what is scheduled; and what is being sent, should its sender die.
    Column("due_at", TIME),
    # Who sends it: random, by each who takes it. Empty for nobody.
    Column("lease", String(32), nullable=False, default=""),
    # How often it was taken since somebody last noted how far it is.
    Column("claims", Integer, nullable=False, default=0),
    # How often in a row nobody could be reached who would send it.
    Column("attempts", Integer, nullable=False, default=0),
    # Up to which target, by their numbers, it was sent.
    Column("sent_to", Sequence, nullable=False, default=0),
    # How many functions, one setting off the next, led to what it is now: so deep are the events of its sending.
    Column("depth", Integer, nullable=False, server_default="0"),
    *times(),
    UniqueConstraint("project_id", "id"),
    Index(None, "project_id", "seq"),
    # Of all projects, since one sender serves them all.
    Index(None, "due_at"),
)
