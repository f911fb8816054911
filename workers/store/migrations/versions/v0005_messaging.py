"""Providers, topics, their subscribers, and messages."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ID = sa.String(255)
_TIME = sa.String(29)


def upgrade() -> None:
    """Make the tables."""
    _create_providers()
    _create_topics()
    _create_subscribers()
    _create_messages()


def _create_table(name: str, *columns: Any) -> None:
    op.create_table(
        name,
        sa.Column("seq", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        *columns,
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("seq", name=f"pk_{name}"),
        sa.UniqueConstraint("project_id", "id", name=f"uq_{name}_project_id_id"),
        # Without AUTOINCREMENT, SQLite would give the number of a deleted row to the next one.
        sqlite_autoincrement=True,
    )


def _create_providers() -> None:
    _create_table(
        "providers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("provider", sa.String(length=16), nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("secrets", sa.Text(), nullable=False),
        sa.Column("credentials", _JSON, nullable=False),
        sa.Column("options", _JSON, nullable=False),
    )


def _create_topics() -> None:
    _create_table(
        "topics",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("subscribe", _JSON, nullable=False),
        sa.Column("email_total", sa.Integer(), nullable=False),
        sa.Column("sms_total", sa.Integer(), nullable=False),
        sa.Column("push_total", sa.Integer(), nullable=False),
    )


def _create_subscribers() -> None:
    _create_table(
        "subscribers",
        sa.Column("topic_id", _ID, nullable=False),
        sa.Column("target_id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=False),
        sa.Column("provider_type", sa.String(length=16), nullable=False),
        sa.UniqueConstraint(
            "project_id", "topic_id", "target_id", name="uq_subscribers_project_id_topic_id_target_id"
        ),
    )
    op.create_index("ix_subscribers_project_id_target_id", "subscribers", ["project_id", "target_id"])
    op.create_index("ix_subscribers_project_id_user_id", "subscribers", ["project_id", "user_id"])


def _create_messages() -> None:
    _create_table(
        "messages",
        sa.Column("provider_type", sa.String(length=16), nullable=False),
        sa.Column("topics", _JSON, nullable=False),
        sa.Column("users", _JSON, nullable=False),
        sa.Column("targets", _JSON, nullable=False),
        sa.Column("data", _JSON, nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("scheduled_at", _TIME),
        sa.Column("delivered_at", _TIME),
        sa.Column("delivered_total", sa.Integer(), nullable=False),
        sa.Column("failed_total", sa.Integer(), nullable=False),
        sa.Column("delivery_errors", _JSON, nullable=False),
        sa.Column("due_at", _TIME),
        sa.Column("lease", sa.String(length=32), nullable=False),
        sa.Column("claims", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("sent_to", _SEQUENCE, nullable=False),
    )
    op.create_index("ix_messages_project_id_seq", "messages", ["project_id", "seq"])
    op.create_index("ix_messages_due_at", "messages", ["due_at"])
