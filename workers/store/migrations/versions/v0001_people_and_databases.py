"""The first tables: projects, people, teams, databases, and the outbox.

There is no way back from the first version but to delete the database.
"""

import secrets
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ID = sa.String(255)
_TIME = sa.String(29)


def upgrade() -> None:
    """Make the tables, and name the store."""
    _create_projects()
    _create_people()
    _create_teams()
    _create_databases()
    _create_outbox()
    stores = sa.table("store_info", sa.column("id", sa.Integer), sa.column("store_id", sa.String))
    op.bulk_insert(stores, [{"id": 1, "store_id": secrets.token_hex(16)}])


def _create_table(name: str, *columns: Any) -> None:
    # Without AUTOINCREMENT, SQLite would give the number of a deleted row to the next one.
    op.create_table(name, *columns, sqlite_autoincrement=True)


def _sequence() -> sa.Column[int]:
    return sa.Column("seq", _SEQUENCE, autoincrement=True, nullable=False)


def _times() -> tuple[sa.Column[str], sa.Column[str]]:
    return sa.Column("created_at", _TIME, nullable=False), sa.Column("updated_at", _TIME, nullable=False)


def _create_projects() -> None:
    _create_table(
        "store_info",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("store_id", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_store_info"),
    )
    _create_table(
        "projects",
        _sequence(),
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("team_id", _ID, nullable=False),
        sa.Column("region", sa.String(length=64), nullable=False),
        sa.Column("disabled", _JSON, nullable=False),
        sa.Column("policies", _JSON, nullable=False),
        sa.Column("schema_version", sa.BigInteger(), nullable=False),
        sa.Column("ping_count", sa.Integer(), nullable=False),
        sa.Column("pinged_at", _TIME, nullable=True),
        *_times(),
        sa.PrimaryKeyConstraint("seq", name="pk_projects"),
        sa.UniqueConstraint("id", name="uq_projects_id"),
    )
    _create_table(
        "platforms",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("seq", name="pk_platforms"),
        sa.UniqueConstraint("project_id", "id", name="uq_platforms_project_id_id"),
    )
    _create_table(
        "keys",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.String(length=128), nullable=False),
        sa.Column("scopes", _JSON, nullable=False),
        sa.Column("expires_at", _TIME, nullable=True),
        sa.Column("accessed_at", _TIME, nullable=True),
        *_times(),
        sa.PrimaryKeyConstraint("seq", name="pk_keys"),
        sa.UniqueConstraint("project_id", "id", name="uq_keys_project_id_id"),
        sa.UniqueConstraint("project_id", "secret_hash", name="uq_keys_project_id_secret_hash"),
    )


def _create_people() -> None:
    _create_table(
        "users",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("phone", sa.String(length=32), nullable=True),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("password_algorithm", sa.String(length=32), nullable=False),
        sa.Column("password_options", _JSON, nullable=False),
        sa.Column("password_updated_at", _TIME, nullable=True),
        sa.Column("password_history", _JSON, nullable=False),
        sa.Column("status", sa.Boolean(), nullable=False),
        sa.Column("labels", _JSON, nullable=False),
        sa.Column("prefs", _JSON, nullable=False),
        sa.Column("email_verified", sa.Boolean(), nullable=False),
        sa.Column("phone_verified", sa.Boolean(), nullable=False),
        sa.Column("mfa", sa.Boolean(), nullable=False),
        sa.Column("mfa_recovery_codes", _JSON, nullable=False),
        sa.Column("totp_secret", sa.String(length=128), nullable=True),
        sa.Column("totp_verified", sa.Boolean(), nullable=False),
        sa.Column("impersonator", sa.Boolean(), nullable=False),
        sa.Column("registered_at", _TIME, nullable=False),
        sa.Column("accessed_at", _TIME, nullable=True),
        *_times(),
        sa.PrimaryKeyConstraint("seq", name="pk_users"),
        sa.UniqueConstraint("project_id", "email", name="uq_users_project_id_email"),
        sa.UniqueConstraint("project_id", "id", name="uq_users_project_id_id"),
        sa.UniqueConstraint("project_id", "phone", name="uq_users_project_id_phone"),
    )
    op.create_index("ix_users_project_id_seq", "users", ["project_id", "seq"])
    _create_table(
        "sessions",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("provider_uid", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.String(length=128), nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("ip", sa.String(length=64), nullable=False),
        sa.Column("agent", _JSON, nullable=False),
        sa.Column("factors", _JSON, nullable=False),
        sa.Column("mfa_updated_at", _TIME, nullable=True),
        *_times(),
        sa.PrimaryKeyConstraint("seq", name="pk_sessions"),
        sa.UniqueConstraint("project_id", "id", name="uq_sessions_project_id_id"),
    )
    op.create_index("ix_sessions_project_id_user_id", "sessions", ["project_id", "user_id"])
    _create_table(
        "tokens",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("secret_hash", sa.String(length=128), nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("seq", name="pk_tokens"),
        sa.UniqueConstraint("project_id", "id", name="uq_tokens_project_id_id"),
    )
    op.create_index("ix_tokens_project_id_user_id", "tokens", ["project_id", "user_id"])
    _create_table(
        "challenges",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("session_id", _ID, nullable=False),
        sa.Column("factor", sa.String(length=32), nullable=False),
        sa.Column("secret_hash", sa.String(length=128), nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("seq", name="pk_challenges"),
        sa.UniqueConstraint("project_id", "id", name="uq_challenges_project_id_id"),
    )
    op.create_index("ix_challenges_project_id_user_id", "challenges", ["project_id", "user_id"])
    _create_table(
        "targets",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("provider_id", _ID, nullable=False),
        sa.Column("provider_type", sa.String(length=16), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("expired", sa.Boolean(), nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("seq", name="pk_targets"),
        sa.UniqueConstraint("project_id", "id", name="uq_targets_project_id_id"),
        sa.UniqueConstraint(
            "project_id",
            "provider_type",
            "identifier",
            name="uq_targets_project_id_provider_type_identifier",
        ),
    )
    op.create_index("ix_targets_project_id_user_id", "targets", ["project_id", "user_id"])
    _create_table(
        "logs",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("ip", sa.String(length=64), nullable=False),
        sa.Column("agent", _JSON, nullable=False),
        sa.Column("time", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_logs"),
    )
    op.create_index("ix_logs_project_id_user_id_seq", "logs", ["project_id", "user_id", "seq"])


def _create_teams() -> None:
    _create_table(
        "teams",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefs", _JSON, nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("seq", name="pk_teams"),
        sa.UniqueConstraint("project_id", "id", name="uq_teams_project_id_id"),
    )
    _create_table(
        "memberships",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("team_id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("roles", _JSON, nullable=False),
        sa.Column("confirmed", sa.Boolean(), nullable=False),
        sa.Column("invited_at", _TIME, nullable=False),
        sa.Column("joined_at", _TIME, nullable=True),
        sa.Column("secret_hash", sa.String(length=128), nullable=False),
        sa.Column("invited_email", sa.Text(), nullable=False),
        sa.Column("invited_name", sa.Text(), nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("seq", name="pk_memberships"),
        sa.UniqueConstraint("project_id", "id", name="uq_memberships_project_id_id"),
        sa.UniqueConstraint(
            "project_id", "team_id", "user_id", name="uq_memberships_project_id_team_id_user_id"
        ),
    )
    op.create_index("ix_memberships_project_id_user_id", "memberships", ["project_id", "user_id"])


def _create_databases() -> None:
    _create_table(
        "databases",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("seq", name="pk_databases"),
        sa.UniqueConstraint("project_id", "id", name="uq_databases_project_id_id"),
    )
    _create_table(
        "tables",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("database_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("row_security", sa.Boolean(), nullable=False),
        sa.Column("permissions", _JSON, nullable=False),
        sa.Column("schema", sa.LargeBinary(), nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("seq", name="pk_tables"),
        sa.UniqueConstraint("project_id", "database_id", "id", name="uq_tables_project_id_database_id_id"),
    )
    _create_table(
        "transactions",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("operations", sa.Integer(), nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("seq", name="pk_transactions"),
        sa.UniqueConstraint("project_id", "id", name="uq_transactions_project_id_id"),
    )
    _create_table(
        "operations",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("transaction_id", _ID, nullable=False),
        sa.Column("operation", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_operations"),
    )
    op.create_index(
        "ix_operations_project_id_transaction_id_seq", "operations", ["project_id", "transaction_id", "seq"]
    )


def _create_outbox() -> None:
    _create_table(
        "outbox",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_outbox"),
    )
    op.create_index("ix_outbox_project_id_seq", "outbox", ["project_id", "seq"])
