"""Functions, what they are made of, and their executions."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ID = sa.String(255)
_TIME = sa.String(29)


def upgrade() -> None:
    """Make the tables."""
    _create_functions()
    _create_parts()
    _create_executions()


def _create_table(name: str, *columns: Any) -> None:
    op.create_table(name, *columns, sqlite_autoincrement=True)


def _sequence() -> sa.Column[int]:
    return sa.Column("seq", _SEQUENCE, autoincrement=True, nullable=False)


def _times() -> tuple[sa.Column[str], sa.Column[str]]:
    return sa.Column("created_at", _TIME, nullable=False), sa.Column("updated_at", _TIME, nullable=False)


def _create_functions() -> None:
    _create_table(
        "functions",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("runtime", sa.String(length=64), nullable=False),
        sa.Column("execute", _JSON, nullable=False),
        sa.Column("events", _JSON, nullable=False),
        sa.Column("schedule", sa.Text(), nullable=False),
        sa.Column("timeout_s", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("logging", sa.Boolean(), nullable=False),
        sa.Column("entrypoint", sa.Text(), nullable=False),
        sa.Column("commands", sa.Text(), nullable=False),
        sa.Column("scopes", _JSON, nullable=False),
        sa.Column("deployment_id", _ID, nullable=True),
        *_times(),
        sa.PrimaryKeyConstraint("seq", name="pk_functions"),
        sa.UniqueConstraint("project_id", "id", name="uq_functions_project_id_id"),
    )
    op.create_index("ix_functions_project_id_seq", "functions", ["project_id", "seq"])


def _create_parts() -> None:
    _create_table(
        "variables",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("function_id", _ID, nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("sealed_value", sa.Text(), nullable=False),
        sa.Column("secret", sa.Boolean(), nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("seq", name="pk_variables"),
        sa.UniqueConstraint(
            "project_id", "function_id", "key", name="uq_variables_project_id_function_id_key"
        ),
        sa.UniqueConstraint("project_id", "id", name="uq_variables_project_id_id"),
    )
    _create_table(
        "deployments",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("function_id", _ID, nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("activate", sa.Boolean(), nullable=False),
        sa.Column("entrypoint", sa.Text(), nullable=False),
        sa.Column("commands", sa.Text(), nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("build_logs", sa.Text(), nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("seq", name="pk_deployments"),
        sa.UniqueConstraint("project_id", "id", name="uq_deployments_project_id_id"),
    )
    op.create_index(
        "ix_deployments_project_id_function_id_seq", "deployments", ["project_id", "function_id", "seq"]
    )


def _create_executions() -> None:
    _create_table(
        "executions",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("function_id", _ID, nullable=False),
        sa.Column("deployment_id", _ID, nullable=False),
        sa.Column("user_id", _ID, nullable=True),
        sa.Column("origin", sa.String(length=45), nullable=True),
        sa.Column("permissions", _JSON, nullable=False),
        sa.Column("trigger", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("request_method", sa.String(length=16), nullable=False),
        sa.Column("request_path", sa.Text(), nullable=False),
        sa.Column("request_headers", _JSON, nullable=False),
        sa.Column("response_status", sa.Integer(), nullable=False),
        sa.Column("response_headers", _JSON, nullable=False),
        sa.Column("logs", sa.Text(), nullable=False),
        sa.Column("errors", sa.Text(), nullable=False),
        sa.Column("duration_s", sa.Double(), nullable=False),
        sa.Column("scheduled_at", _TIME, nullable=True),
        sa.Column("due_at", _TIME, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("sealed_request", sa.Text(), nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("seq", name="pk_executions"),
        sa.UniqueConstraint("project_id", "id", name="uq_executions_project_id_id"),
    )
    op.create_index(
        "ix_executions_project_id_function_id_seq", "executions", ["project_id", "function_id", "seq"]
    )
    op.create_index("ix_executions_project_id_user_id", "executions", ["project_id", "user_id"])
    op.create_index("ix_executions_project_id_due_at", "executions", ["project_id", "due_at"])
    op.create_index("ix_executions_due_at", "executions", ["due_at"])
