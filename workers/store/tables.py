"""The tables that every store has, one for each kind of resource. Migrations make them.

Rows of users' own tables are elsewhere: each table of a project is an SQL table of its own, made when the API
makes it (:mod:`workers.store.row_tables`).

Conventions: ``project_id`` comes first in every key, so that no query reaches another tenant; times are texts of
:mod:`workers.store.times`; booleans that the API calls "enabled" or "status" keep the API's name; ``seq`` is a
number that grows with each insert and is never used twice.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""A JSON value; SQL's NULL for None."""

Sequence = BigInteger().with_variant(Integer, "sqlite")
"""A number that the database gives out; SQLite only does that for INTEGER."""

_ID = String(255)
_TIME = String(29)


def _table(name: str, *columns: Any) -> Table:
    return Table(name, metadata, *columns, sqlite_autoincrement=True)


def _sequence() -> Column[int]:
    return Column("seq", Sequence, primary_key=True, autoincrement=True)


def _times() -> tuple[Column[str], Column[str]]:
    return Column("created_at", _TIME, nullable=False), Column("updated_at", _TIME, nullable=False)


store_info = _table(
    "store_info",
    Column("id", Integer, primary_key=True),
    # Random, made with the store: tells its outbox from the one of a store that was thrown away.
    Column("store_id", String(32), nullable=False),
)

projects = _table(
    "projects",
    _sequence(),
    Column("id", _ID, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("team_id", _ID, nullable=False, default=""),
    Column("region", String(64), nullable=False, default=""),
    # Which protocols and services are switched off: {"protocols": ["websocket"], "services": []}.
    Column("disabled", Json, nullable=False),
    # Policies and auth methods that differ from their defaults, by name.
    Column("policies", Json, nullable=False),
    # Grows with each change of a database, a table or its columns and indexes; tells who kept what they looked like.
    # Begins at the microsecond the project was made in, beyond what a former one of the same ID counted to.
    Column("schema_version", BigInteger, nullable=False, default=0),
    Column("ping_count", Integer, nullable=False, default=0),
    Column("pinged_at", _TIME),
    *_times(),
)

platforms = _table(
    "platforms",
    _sequence(),
    Column("project_id", _ID, nullable=False),
    Column("id", _ID, nullable=False),
    Column("type", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("key", Text, nullable=False, default=""),
    Column("hostname", Text, nullable=False, default=""),
    *_times(),
    UniqueConstraint("project_id", "id"),
)

keys = _table(
    "keys",
    _sequence(),
    Column("project_id", _ID, nullable=False),
    Column("id", _ID, nullable=False),
    Column("name", Text, nullable=False),
    Column("secret_hash", String(128), nullable=False),
    Column("scopes", Json, nullable=False),
    # None never expires.
    Column("expires_at", _TIME),
    Column("accessed_at", _TIME),
    *_times(),
    UniqueConstraint("project_id", "id"),
    UniqueConstraint("project_id", "secret_hash"),
)

users = _table(
    "users",
    _sequence(),
    Column("project_id", _ID, nullable=False),
    Column("id", _ID, nullable=False),
    Column("name", Text, nullable=False, default=""),
    # In lower case; None for a user without one, since uniqueness passes over NULL.
    Column("email", Text),
    Column("phone", String(32)),
    # None for a user without a password.
    Column("password_hash", Text),
    Column("password_algorithm", String(32), nullable=False, default="argon2"),
    Column("password_options", Json, nullable=False),
    Column("password_updated_at", _TIME),
    # Hashes of earlier passwords, newest last.
    Column("password_history", Json, nullable=False),
    # False when blocked.
    Column("status", Boolean, nullable=False, default=True),
    Column("labels", Json, nullable=False),
    Column("prefs", Json, nullable=False),
    Column("email_verified", Boolean, nullable=False, default=False),
    Column("phone_verified", Boolean, nullable=False, default=False),
    Column("mfa", Boolean, nullable=False, default=False),
    # Hashes of the codes that were not used yet; the codes themselves are shown once.
    Column("mfa_recovery_codes", Json, nullable=False),
    # Base32, None when there is no authenticator.
    Column("totp_secret", String(128)),
    Column("totp_verified", Boolean, nullable=False, default=False),
    Column("impersonator", Boolean, nullable=False, default=False),
    Column("registered_at", _TIME, nullable=False),
    Column("accessed_at", _TIME),
    *_times(),
    UniqueConstraint("project_id", "id"),
    UniqueConstraint("project_id", "email"),
    UniqueConstraint("project_id", "phone"),
    Index(None, "project_id", "seq"),
)

sessions = _table(
    "sessions",
    _sequence(),
    Column("project_id", _ID, nullable=False),
    Column("id", _ID, nullable=False),
    Column("user_id", _ID, nullable=False),
    Column("provider", String(64), nullable=False),
    Column("provider_uid", Text, nullable=False, default=""),
    Column("secret_hash", String(128), nullable=False),
    Column("expires_at", _TIME, nullable=False),
    Column("ip", String(64), nullable=False, default=""),
    # What the user agent says: the os*, client* and device* members of the session model.
    Column("agent", Json, nullable=False),
    # How the person proved who they are: password, totp, email, phone, recoverycode.
    Column("factors", Json, nullable=False),
    Column("mfa_updated_at", _TIME),
    *_times(),
    UniqueConstraint("project_id", "id"),
    Index(None, "project_id", "user_id"),
)

tokens = _table(
    "tokens",
    _sequence(),
    Column("project_id", _ID, nullable=False),
    Column("id", _ID, nullable=False),
    Column("user_id", _ID, nullable=False),
    # recovery, verification, phone-verification, magic-url, email, phone, generic: what it may be used for;
    # totp: a code of an authenticator that was used, whose ID has it.
    Column("kind", String(32), nullable=False),
    Column("secret_hash", String(128), nullable=False),
    Column("expires_at", _TIME, nullable=False),
    # How often a wrong secret was presented for it.
    Column("attempts", Integer, nullable=False, default=0),
    *_times(),
    UniqueConstraint("project_id", "id"),
    Index(None, "project_id", "user_id"),
)

challenges = _table(
    "challenges",
    _sequence(),
    Column("project_id", _ID, nullable=False),
    Column("id", _ID, nullable=False),
    Column("user_id", _ID, nullable=False),
    Column("session_id", _ID, nullable=False),
    # totp, email, phone, recoverycode.
    Column("factor", String(32), nullable=False),
    # Empty for factors whose code the server does not make.
    Column("secret_hash", String(128), nullable=False, default=""),
    Column("expires_at", _TIME, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    *_times(),
    UniqueConstraint("project_id", "id"),
    Index(None, "project_id", "user_id"),
)

targets = _table(
    "targets",
    _sequence(),
    Column("project_id", _ID, nullable=False),
    Column("id", _ID, nullable=False),
    Column("user_id", _ID, nullable=False),
    Column("name", Text, nullable=False, default=""),
    Column("provider_id", _ID, nullable=False, default=""),
    # email, sms, push.
    Column("provider_type", String(16), nullable=False),
    Column("identifier", Text, nullable=False),
    Column("expired", Boolean, nullable=False, default=False),
    *_times(),
    UniqueConstraint("project_id", "id"),
    # A device may call itself what it likes, also by somebody's address.
    UniqueConstraint("project_id", "provider_type", "identifier"),
    Index(None, "project_id", "user_id"),
)

logs = _table(
    "logs",
    _sequence(),
    Column("project_id", _ID, nullable=False),
    Column("user_id", _ID, nullable=False),
    # Such as session.create, user.update.
    Column("event", String(64), nullable=False),
    Column("ip", String(64), nullable=False, default=""),
    Column("agent", Json, nullable=False),
    Column("time", _TIME, nullable=False),
    Index(None, "project_id", "user_id", "seq"),
)

teams = _table(
    "teams",
    _sequence(),
    Column("project_id", _ID, nullable=False),
    Column("id", _ID, nullable=False),
    Column("name", Text, nullable=False),
    Column("prefs", Json, nullable=False),
    # Confirmed members, counted as they come and go.
    Column("total", Integer, nullable=False, default=0),
    *_times(),
    UniqueConstraint("project_id", "id"),
)

memberships = _table(
    "memberships",
    _sequence(),
    Column("project_id", _ID, nullable=False),
    Column("id", _ID, nullable=False),
    Column("team_id", _ID, nullable=False),
    Column("user_id", _ID, nullable=False),
    Column("roles", Json, nullable=False),
    Column("confirmed", Boolean, nullable=False, default=False),
    Column("invited_at", _TIME, nullable=False),
    Column("joined_at", _TIME),
    # Of the invitation's secret; empty when there is none.
    Column("secret_hash", String(128), nullable=False, default=""),
    # What whoever invited the person said of them: all that the team is shown until they join.
    Column("invited_email", Text, nullable=False, default=""),
    Column("invited_name", Text, nullable=False, default=""),
    *_times(),
    UniqueConstraint("project_id", "id"),
    UniqueConstraint("project_id", "team_id", "user_id"),
    Index(None, "project_id", "user_id"),
)

databases = _table(
    "databases",
    _sequence(),
    Column("project_id", _ID, nullable=False),
    Column("id", _ID, nullable=False),
    Column("name", Text, nullable=False),
    Column("enabled", Boolean, nullable=False, default=True),
    # legacy (made under /databases) or tablesdb (made under /tablesdb).
    Column("type", String(16), nullable=False),
    *_times(),
    UniqueConstraint("project_id", "id"),
)

tables = _table(
    "tables",
    _sequence(),
    Column("project_id", _ID, nullable=False),
    Column("database_id", _ID, nullable=False),
    Column("id", _ID, nullable=False),
    Column("name", Text, nullable=False),
    Column("enabled", Boolean, nullable=False, default=True),
    Column("row_security", Boolean, nullable=False, default=False),
    Column("permissions", Json, nullable=False),
    # The columns and indexes, as workers.store.schema has them. With the table, so that one read says all.
    Column("schema", LargeBinary, nullable=False),
    *_times(),
    UniqueConstraint("project_id", "database_id", "id"),
)

transactions = _table(
    "transactions",
    _sequence(),
    Column("project_id", _ID, nullable=False),
    Column("id", _ID, nullable=False),
    # The user who opened it; empty for an API key.
    Column("user_id", _ID, nullable=False, default=""),
    # pending, committing, committed, rolled_back, failed.
    Column("status", String(16), nullable=False),
    Column("operations", Integer, nullable=False, default=0),
    Column("expires_at", _TIME, nullable=False),
    *_times(),
    UniqueConstraint("project_id", "id"),
)

operations = _table(
    "operations",
    _sequence(),
    Column("project_id", _ID, nullable=False),
    Column("transaction_id", _ID, nullable=False),
    Column("operation", Json, nullable=False),
    Index(None, "project_id", "transaction_id", "seq"),
)

outbox = _table(
    "outbox",
    _sequence(),
    # In whose log the event goes: the project's, or the console's.
    Column("project_id", _ID, nullable=False),
    # event, user, key, project: what the body is.
    Column("kind", String(16), nullable=False),
    # An envelope, ready to be published; or the ID of what is to be written through.
    Column("body", LargeBinary, nullable=False),
    Index(None, "project_id", "seq"),
)
