"""Deliveries to webhooks; what sets off functions, and the order in which their executions are run."""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables, and add the columns."""
    _create_deliveries()
    op.add_column("webhooks", sa.Column("former_secret", sa.Text(), nullable=False, server_default=""))
    op.add_column("webhooks", sa.Column("former_secret_until", sa.String(29)))
    op.add_column("webhooks", sa.Column("failing_since", sa.String(29)))
    op.add_column("messages", sa.Column("depth", sa.Integer(), nullable=False, server_default="0"))
    _extend_functions()


def _extend_functions() -> None:
    op.add_column("executions", sa.Column("depth", sa.Integer(), nullable=False, server_default="0"))
    op.drop_index("ix_executions_project_id_due_at", "executions")
    waits = sa.text("due_at IS NOT NULL")
    op.create_index(
        "ix_executions_waiting",
        "executions",
        ["project_id", "function_id", "due_at", "seq"],
        sqlite_where=waits,
        postgresql_where=waits,
    )
    op.add_column("functions", sa.Column("schedule_done_at", sa.String(29)))
    # No schedule was heeded so far, and what is past is not made up for.
    done = sa.table("functions", sa.column("schedule_done_at", sa.String))
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    op.execute(done.update().values(schedule_done_at=now))
    has_schedule = sa.text("schedule != ''")
    op.create_index(
        "ix_functions_scheduled",
        "functions",
        ["seq"],
        sqlite_where=has_schedule,
        postgresql_where=has_schedule,
    )


def _create_deliveries() -> None:
    op.create_table(
        "webhook_events",
        sa.Column("seq", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("project_id", sa.String(255), nullable=False),
        sa.Column("event_id", sa.String(41), nullable=False),
        sa.Column("names", _JSON, nullable=False),
        sa.Column("actor_id", sa.String(255), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.String(29), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_webhook_events"),
        sa.UniqueConstraint("project_id", "event_id", name="uq_webhook_events_project_id_event_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "deliveries",
        sa.Column("seq", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("project_id", sa.String(255), nullable=False),
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("webhook_id", sa.String(255), nullable=False),
        sa.Column("webhook_seq", _SEQUENCE, nullable=False),
        sa.Column("event_id", sa.String(41), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("response_status", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("due_at", sa.String(29)),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.String(29), nullable=False),
        sa.Column("updated_at", sa.String(29), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_deliveries"),
        sa.UniqueConstraint("project_id", "id", name="uq_deliveries_project_id_id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_deliveries_project_id_webhook_id_seq", "deliveries", ["project_id", "webhook_id", "seq"]
    )
    op.create_index("ix_deliveries_project_id_event_id", "deliveries", ["project_id", "event_id"])
    is_open = sa.text("due_at IS NOT NULL")
    op.create_index(
        "ix_deliveries_due",
        "deliveries",
        ["webhook_seq", "due_at", "seq"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    is_dead = sa.text("status = 'dead'")
    op.create_index(
        "ix_deliveries_dead",
        "deliveries",
        ["project_id", "webhook_id", "seq"],
        sqlite_where=is_dead,
        postgresql_where=is_dead,
    )
    op.create_table(
        "delivery_attempts",
        sa.Column("seq", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("project_id", sa.String(255), nullable=False),
        sa.Column("delivery_id", sa.String(36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.String(29), nullable=False),
        sa.Column("duration_s", sa.Double(), nullable=False),
        sa.Column("response_status", sa.Integer(), nullable=False),
        sa.Column("response", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_delivery_attempts"),
        sa.UniqueConstraint(
            "project_id",
            "delivery_id",
            "number",
            name="uq_delivery_attempts_project_id_delivery_id_number",
        ),
        sqlite_autoincrement=True,
    )
