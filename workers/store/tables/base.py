"""What the declarations of tables share: their metadata, and the columns that most of them have."""

from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Integer, MetaData, String, Table
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

ID = String(255)
"""An ID, of at most 36 characters where clients choose it."""

TIME = String(29)
"""A time, as :mod:`workers.store.times` writes it."""


def table(name: str, *columns: Any) -> Table:
    """Declare a table of the store, whose numbers are never given out twice."""
    return Table(name, metadata, *columns, sqlite_autoincrement=True)


def sequence() -> Column[int]:
    """Return the column ``seq``: the primary key, which grows with each insert."""
    return Column("seq", Sequence, primary_key=True, autoincrement=True)


def times() -> tuple[Column[str], Column[str]]:
    """Return the columns ``created_at`` and ``updated_at``."""
    return Column("created_at", TIME, nullable=False), Column("updated_at", TIME, nullable=False)
