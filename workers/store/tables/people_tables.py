"""People, how they prove who they are, and their teams."""

from sqlalchemy import Boolean, Column, Index, Integer, String, Text, UniqueConstraint

from workers.store.tables.base import ID, TIME, Json, sequence, table, times

users = table(
    "users",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    Column("name", Text, nullable=False, default=""),
    # In lower case; None for a user without one, since uniqueness passes over NULL.
    Column("email", Text),
    Column("phone", String(32)),
    # None for a user without a password.
    Column("password_hash", Text),
    Column("password_algorithm", String(32), nullable=False, default="argon2"),
    Column("password_options", Json, nullable=False),
    Column("password_updated_at", TIME),
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
    Column("registered_at", TIME, nullable=False),
    Column("accessed_at", TIME),
    *times(),
    UniqueConstraint("project_id", "id"),
    UniqueConstraint("project_id", "email"),
    UniqueConstraint("project_id", "phone"),
    Index(None, "project_id", "seq"),
)

sessions = table(
    "sessions",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    Column("user_id", ID, nullable=False),
    Column("provider", String(64), nullable=False),
    Column("provider_uid", Text, nullable=False, default=""),
    Column("secret_hash", String(128), nullable=False),
    Column("expires_at", TIME, nullable=False),
    Column("ip", String(64), nullable=False, default=""),
    # What the user agent says: the os*, client* and device* members of the session model.
    Column("agent", Json, nullable=False),
    # How the person proved who they are: password, totp, email, phone, recoverycode.
    Column("factors", Json, nullable=False),
    Column("mfa_updated_at", TIME),
    *times(),
    UniqueConstraint("project_id", "id"),
    Index(None, "project_id", "user_id"),
    Index(None, "expires_at"),
)

tokens = table(
    "tokens",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    Column("user_id", ID, nullable=False),
    # recovery, verification, phone-verification, magic-url, email, phone, generic: what it may be used for;
    # totp: a code of an authenticator that was used, whose ID has it.
    Column("kind", String(32), nullable=False),
    Column("secret_hash", String(128), nullable=False),
    Column("expires_at", TIME, nullable=False),
    # How often a wrong secret was presented for it.
    Column("attempts", Integer, nullable=False, default=0),
    *times(),
    UniqueConstraint("project_id", "id"),
    Index(None, "project_id", "user_id"),
    Index(None, "expires_at"),
)

challenges = table(
    "challenges",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    Column("user_id", ID, nullable=False),
    Column("session_id", ID, nullable=False),
    # totp, email, phone, recoverycode.
    Column("factor", String(32), nullable=False),
    # Empty for factors whose code the server does not make.
    Column("secret_hash", String(128), nullable=False, default=""),
    Column("expires_at", TIME, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    *times(),
    UniqueConstraint("project_id", "id"),
    Index(None, "project_id", "user_id"),
    Index(None, "expires_at"),
)

targets = table(
    "targets",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    Column("user_id", ID, nullable=False),
    Column("name", Text, nullable=False, default=""),
    Column("provider_id", ID, nullable=False, default=""),
    # email, sms, push.
    Column("provider_type", String(16), nullable=False),
    Column("identifier", Text, nullable=False),
    Column("expired", Boolean, nullable=False, default=False),
    *times(),
    UniqueConstraint("project_id", "id"),
    # A device may call itself what it likes, also by somebody's address.
    UniqueConstraint("project_id", "provider_type", "identifier"),
    Index(None, "project_id", "user_id"),
)

logs = table(
    "logs",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("user_id", ID, nullable=False),
    # Such as session.create, user.update.
    Column("event", String(64), nullable=False),
    Column("ip", String(64), nullable=False, default=""),
    Column("agent", Json, nullable=False),
    Column("time", TIME, nullable=False),
    Index(None, "project_id", "user_id", "seq"),
)

teams = table(
    "teams",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    Column("name", Text, nullable=False),
    Column("prefs", Json, nullable=False),
    # Confirmed members, counted as they come and go.
    Column("total", Integer, nullable=False, default=0),
    *times(),
    UniqueConstraint("project_id", "id"),
)

memberships = table(
    "memberships",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    Column("team_id", ID, nullable=False),
    Column("user_id", ID, nullable=False),
    Column("roles", Json, nullable=False),
    Column("confirmed", Boolean, nullable=False, default=False),
    Column("invited_at", TIME, nullable=False),
    Column("joined_at", TIME),
    # Of the invitation's secret; empty when there is none.
    Column("secret_hash", String(128), nullable=False, default=""),
    # What whoever invited the person said of them: all that the team is shown until they join.
    Column("invited_email", Text, nullable=False, default=""),
    Column("invited_name", Text, nullable=False, default=""),
    *times(),
    UniqueConstraint("project_id", "id"),
    UniqueConstraint("project_id", "team_id", "user_id"),
    Index(None, "project_id", "user_id"),
)
