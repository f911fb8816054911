"""Projects, who may use them, and the store itself."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Text, UniqueConstraint

from workers.store.tables.base import ID, TIME, Json, sequence, table, times

store_info = table(
    "store_info",
    Column("id", Integer, primary_key=True),
    # Random, made with the store: tells its outbox from the one of a store that was thrown away.
    Column("store_id", String(32), nullable=False),
)

projects = table(
    "projects",
    sequence(),
    Column("id", ID, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("team_id", ID, nullable=False, default=""),
    Column("region", String(64), nullable=False, default=""),
    # Which protocols and services are switched off: {"protocols": ["websocket"], "services": []}.
    Column("disabled", Json, nullable=False),
    # Policies and auth methods that differ from their defaults, by name.
    Column("policies", Json, nullable=False),
    # Grows with each change of a database, a table or its columns and indexes; tells who kept what they looked like.
    # Begins at the microsecond the project was made in, beyond what a former one of the same ID counted to.
    Column("schema_version", BigInteger, nullable=False, default=0),
    Column("ping_count", Integer, nullable=False, default=0),
    Column("pinged_at", TIME),
    *times(),
)

platforms = table(
    "platforms",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    Column("type", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("key", Text, nullable=False, default=""),
    Column("hostname", Text, nullable=False, default=""),
    *times(),
    UniqueConstraint("project_id", "id"),
)

keys = table(
    "keys",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    Column("name", Text, nullable=False),
    Column("secret_hash", String(128), nullable=False),
    Column("scopes", Json, nullable=False),
    # None never expires.
    Column("expires_at", TIME),
    Column("accessed_at", TIME),
    *times(),
    UniqueConstraint("project_id", "id"),
    UniqueConstraint("project_id", "secret_hash"),
)

outbox = table(
    "outbox",
    sequence(),
    # In whose log the event goes: the project's, or the console's.
    Column("project_id", ID, nullable=False),
    # A workers.store.outbox.Kind: what the body is.
    Column("kind", String(16), nullable=False),
    # An envelope, ready to be published; or the ID of what is to be written through.
    Column("body", LargeBinary, nullable=False),
    Index(None, "project_id", "seq"),
)
