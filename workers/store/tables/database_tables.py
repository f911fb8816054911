"""Databases, their tables, and transactions. Rows are elsewhere: :mod:`workers.store.row_tables`."""

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, String, Text, UniqueConstraint

from workers.store.tables.base import ID, TIME, Json, sequence, table, times

databases = table(
    "databases",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    Column("name", Text, nullable=False),
    Column("enabled", Boolean, nullable=False, default=True),
    # legacy (made under /databases) or tablesdb (made under /tablesdb).
    Column("type", String(16), nullable=False),
    *times(),
    UniqueConstraint("project_id", "id"),
)

tables = table(
    "tables",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("database_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    Column("name", Text, nullable=False),
    Column("enabled", Boolean, nullable=False, default=True),
    Column("row_security", Boolean, nullable=False, default=False),
    Column("permissions", Json, nullable=False),
    # The columns and indexes, as workers.store.schema has them. With the table, so that one read says all.
    Column("schema", LargeBinary, nullable=False),
    *times(),
    UniqueConstraint("project_id", "database_id", "id"),
)

transactions = table(
    "transactions",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    # The user who opened it; empty for an API key.
    Column("user_id", ID, nullable=False, default=""),
    # pending, committing, committed, rolled_back, failed.
    Column("status", String(16), nullable=False),
    Column("operations", Integer, nullable=False, default=0),
    Column("expires_at", TIME, nullable=False),
    *times(),
    UniqueConstraint("project_id", "id"),
    Index(None, "expires_at"),
)

operations = table(
    "operations",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("transaction_id", ID, nullable=False),
    Column("operation", Json, nullable=False),
    Index(None, "project_id", "transaction_id", "seq"),
)
