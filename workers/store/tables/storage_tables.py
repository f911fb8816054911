"""Buckets, the files in them, and the tokens that open files.

Only files that are complete are here; what is still being uploaded is in ``uploads``. Bytes are elsewhere, by
``storage_key``: :mod:`workers.files`.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
)

from workers.store.tables.base import ID, TIME, Json, sequence, table, times

buckets = table(
    "buckets",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    Column("name", Text, nullable=False),
    Column("enabled", Boolean, nullable=False, default=True),
    Column("file_security", Boolean, nullable=False, default=False),
    Column("permissions", Json, nullable=False),
    # The largest file that it takes, in bytes.
    Column("max_file_bytes", BigInteger, nullable=False),
    # In lower case, without dots; all are allowed if there are none.
    Column("extensions", Json, nullable=False),
    # Whether previews of its images are made.
    Column("transformations", Boolean, nullable=False, default=True),
    # Of its files together, counted as they come and go.
    Column("total_bytes", BigInteger, nullable=False, default=0),
    *times(),
    UniqueConstraint("project_id", "id"),
)

files = table(
    "files",
    sequence(),
    Column("project_id", ID, nullable=False),
    # Of the bucket, rather than its ID: another bucket may be given the ID later.
    Column("bucket_seq", BigInteger, nullable=False),
    Column("id", ID, nullable=False),
    Column("name", Text, nullable=False),
    Column("permissions", Json, nullable=False),
    # The MD5 of its bytes, in hexadecimal.
    Column("signature", Text, nullable=False),
    Column("mime_type", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    # In how many pieces it came.
    Column("chunks", Integer, nullable=False),
    # Where its bytes are. Never used twice, so that what deletes them cannot meet a later file of the same ID.
    Column("storage_key", Text, nullable=False),
    *times(),
    UniqueConstraint("project_id", "bucket_seq", "id"),
    Index(None, "project_id", "bucket_seq", "seq"),
)

file_permissions = table(
    "file_permissions",
    Column("project_id", ID, nullable=False),
    Column("bucket_seq", BigInteger, nullable=False),
    Column("file_seq", BigInteger, nullable=False),
    Column("action", Text, nullable=False),
    Column("role", Text, nullable=False),
    PrimaryKeyConstraint("file_seq", "action", "role"),
    Index(None, "project_id", "bucket_seq", "role", "action", "file_seq"),
)

file_tokens = table(
    "file_tokens",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    Column("file_seq", BigInteger, nullable=False),
    # As the API shows them.
    Column("bucket_id", ID, nullable=False),
    Column("file_id", ID, nullable=False),
    # None never expires.
    Column("expires_at", TIME),
    Column("accessed_at", TIME),
    *times(),
    UniqueConstraint("project_id", "id"),
    Index(None, "project_id", "file_seq", "seq"),
)
