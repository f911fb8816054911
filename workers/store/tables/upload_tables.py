"""Uploads that are not complete, and stored bytes that nobody needs any more."""

from sqlalchemy import BigInteger, Column, Index, String, Text, UniqueConstraint

from workers.store.tables.base import ID, TIME, Json, sequence, table, times

uploads = table(
    "uploads",
    sequence(),
    Column("project_id", ID, nullable=False),
    # file, deployment: of what.
    Column("kind", String(16), nullable=False),
    # Which one; with what it is in, where that tells it from others: "<bucket>/<file>".
    Column("resource_id", Text, nullable=False),
    # Who began it and may go on: the user, empty for a guest or an API key.
    Column("owner_id", ID, nullable=False, default=""),
    # Whose open uploads it counts among: a user's ID, or the address of a guest; empty for an API key, which may have
    # any number.
    Column("counted_for", ID, nullable=False, default=""),
    # Where the bytes will be, and what the file store calls the upload until then; empty for one in a single piece.
    Column("storage_key", Text, nullable=False),
    Column("token", Text, nullable=False, default=""),
    Column("total_bytes", BigInteger, nullable=False),
    # The size of every part but the last.
    Column("chunk_bytes", BigInteger, nullable=False),
    # Which parts are stored, by number, from 1: "1-4,6".
    Column("parts", Text, nullable=False, default=""),
    # What the resource will be made of: name, permissions and so on, as its service keeps them.
    Column("details", Json, nullable=False),
    *times(),
    UniqueConstraint("project_id", "kind", "resource_id"),
    Index(None, "project_id", "counted_for"),
    # By both of these what nobody completes is found.
    Index(None, "created_at"),
    Index(None, "updated_at"),
)

discarded_files = table(
    "discarded_files",
    # No project: these rows outlive the one that the bytes belonged to.
    sequence(),
    Column("storage_key", Text, nullable=False),
    # Of the upload that was given up; empty if there was none.
    Column("token", Text, nullable=False, default=""),
    Column("created_at", TIME, nullable=False),
)
