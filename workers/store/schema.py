"""What a table of a project looks like: its columns and indexes. Pure.

Kept as JSON with the table's record, so that one read says all that a row must obey. What the SQL table and its columns
are called follows from numbers that are never used twice: names of users never reach a statement, and a column can be
renamed without touching the rows.
"""

from functools import lru_cache
from typing import Any, Literal

import msgspec

ColumnType = Literal[
    "string", "varchar", "text", "mediumtext", "longtext", "integer", "bigint", "double", "boolean", "datetime",
    "point", "linestring", "polygon", "relationship",
]  # fmt: skip
"""How the API names the types. E-mail addresses, URLs, IPs and enums are strings with a format."""

StringFormat = Literal["", "email", "enum", "url", "ip"]

IndexType = Literal["key", "unique", "fulltext", "spatial"]


class Relation(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Where a column of type ``relationship`` leads."""

    related_table_id: str
    relation_type: Literal["oneToOne", "oneToMany", "manyToOne", "manyToMany"]
    two_way: bool = False
    two_way_key: str = ""
    on_delete: Literal["cascade", "restrict", "setNull"] = "restrict"
    side: Literal["parent", "child"] = "parent"


class Column(msgspec.Struct, frozen=True, omit_defaults=True):
    """One column of a table."""

    number: int
    """What its SQL column is called after."""
    key: str
    type: ColumnType
    created_at: str
    updated_at: str
    required: bool = False
    array: bool = False
    default: Any = None
    size: int = 0
    """Characters, for strings with a limit."""
    format: StringFormat = ""
    elements: tuple[str, ...] = ()
    """What a value of format ``enum`` may be."""
    min: float | int | None = None
    max: float | int | None = None
    encrypt: bool = False
    relation: Relation | None = None

    @property
    def sql_name(self) -> str:
        """What the column is called in SQL."""
        return f"c{self.number}"


class Index(msgspec.Struct, frozen=True, omit_defaults=True):
    """One index of a table."""

    number: int
    key: str
    type: IndexType
    columns: tuple[str, ...]
    """Keys of columns, or of ``$id``, ``$createdAt``, ``$updatedAt``."""
    created_at: str
    updated_at: str
    orders: tuple[str, ...] = ()
    """``ASC`` or ``DESC`` for each column; empty for ``ASC``."""
    lengths: tuple[int, ...] = ()


class Schema(msgspec.Struct, frozen=True, omit_defaults=True):
    """The columns and indexes of a table."""

    columns: tuple[Column, ...] = ()
    indexes: tuple[Index, ...] = ()
    last_number: int = 0
    """The highest number that a column or index of the table ever had."""

    def column(self, key: str) -> Column | None:
        """Return the column with this key; None when there is none."""
        return next((column for column in self.columns if column.key == key), None)

    def index(self, key: str) -> Index | None:
        """Return the index with this key; None when there is none."""
        return next((index for index in self.indexes if index.key == key), None)


class TableRecord(msgspec.Struct, frozen=True):
    """A table with the database it is in: everything that an operation on a row has to know."""

    seq: int
    """What its SQL table is called after."""
    id: str
    name: str
    database_id: str
    database_type: str
    """``legacy`` or ``tablesdb``."""
    table_enabled: bool
    database_enabled: bool
    row_security: bool
    permissions: tuple[str, ...]
    created_at: str
    updated_at: str
    schema: Schema

    @property
    def enabled(self) -> bool:
        """Whether users may reach it: both the table and its database are enabled."""
        return self.table_enabled and self.database_enabled

    @property
    def sql_name(self) -> str:
        """What the SQL table of its rows is called; that of their permissions ends with ``_perms``."""
        return sql_name_of(self.seq)


def sql_name_of(seq: int) -> str:
    """Return what the SQL table of the rows of the table with this number is called."""
    return f"rows_{seq}"


def encode_schema(schema: Schema) -> bytes:
    """Return the JSON that the ``schema`` column of ``tables`` holds."""
    return msgspec.json.encode(schema)


_SCHEMA = msgspec.json.Decoder(Schema)


@lru_cache(maxsize=1024)
def decode_schema(text: bytes) -> Schema:
    """Return the schema in a ``schema`` column; for the same text, the same object."""
    return _SCHEMA.decode(text)
