"""Buckets and what is in them."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_ID = sa.String(255)
_TIME = sa.String(29)


def upgrade() -> None:
    """Make the tables."""
    _create_buckets()
    _create_files()
    _create_file_tokens()
    _create_uploads()


def _create_table(name: str, *columns: Any) -> None:
    op.create_table(name, *columns, sqlite_autoincrement=True)


def _sequence() -> sa.Column[int]:
    return sa.Column("seq", _SEQUENCE, autoincrement=True, nullable=False)


def _times() -> tuple[sa.Column[str], sa.Column[str]]:
    return sa.Column("created_at", _TIME, nullable=False), sa.Column("updated_at", _TIME, nullable=False)


def _create_buckets() -> None:
    _create_table(
        "buckets",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("file_security", sa.Boolean(), nullable=False),
        sa.Column("permissions", _JSON, nullable=False),
        sa.Column("max_file_bytes", sa.BigInteger(), nullable=False),
        sa.Column("extensions", _JSON, nullable=False),
        sa.Column("transformations", sa.Boolean(), nullable=False),
        sa.Column("total_bytes", sa.BigInteger(), nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("seq", name="pk_buckets"),
        sa.UniqueConstraint("project_id", "id", name="uq_buckets_project_id_id"),
    )


def _create_files() -> None:
    _create_table(
        "files",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("bucket_seq", sa.BigInteger(), nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("permissions", _JSON, nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("mime_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("chunks", sa.Integer(), nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("seq", name="pk_files"),
        sa.UniqueConstraint("project_id", "bucket_seq", "id", name="uq_files_project_id_bucket_seq_id"),
    )
    op.create_index("ix_files_project_id_bucket_seq_seq", "files", ["project_id", "bucket_seq", "seq"])
    _create_table(
        "file_permissions",
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("bucket_seq", sa.BigInteger(), nullable=False),
        sa.Column("file_seq", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("file_seq", "action", "role", name="pk_file_permissions"),
    )
    op.create_index(
        "ix_file_permissions_project_id_bucket_seq_role_action_file_seq",
        "file_permissions",
        ["project_id", "bucket_seq", "role", "action", "file_seq"],
    )


def _create_file_tokens() -> None:
    _create_table(
        "file_tokens",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("file_seq", sa.BigInteger(), nullable=False),
        sa.Column("bucket_id", _ID, nullable=False),
        sa.Column("file_id", _ID, nullable=False),
        sa.Column("expires_at", _TIME, nullable=True),
        sa.Column("accessed_at", _TIME, nullable=True),
        *_times(),
        sa.PrimaryKeyConstraint("seq", name="pk_file_tokens"),
        sa.UniqueConstraint("project_id", "id", name="uq_file_tokens_project_id_id"),
    )
    op.create_index(
        "ix_file_tokens_project_id_file_seq_seq", "file_tokens", ["project_id", "file_seq", "seq"]
    )


def _create_uploads() -> None:
    _create_table(
        "uploads",
        _sequence(),
        sa.Column("project_id", _ID, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("resource_id", sa.Text(), nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("counted_for", _ID, nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("total_bytes", sa.BigInteger(), nullable=False),
        sa.Column("chunk_bytes", sa.BigInteger(), nullable=False),
        sa.Column("parts", sa.Text(), nullable=False),
        sa.Column("details", _JSON, nullable=False),
        *_times(),
        sa.PrimaryKeyConstraint("seq", name="pk_uploads"),
        sa.UniqueConstraint(
            "project_id", "kind", "resource_id", name="uq_uploads_project_id_kind_resource_id"
        ),
    )
    op.create_index("ix_uploads_project_id_counted_for", "uploads", ["project_id", "counted_for"])
    op.create_index("ix_uploads_created_at", "uploads", ["created_at"])
    op.create_index("ix_uploads_updated_at", "uploads", ["updated_at"])
    _create_table(
        "discarded_files",
        _sequence(),
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_discarded_files"),
    )
