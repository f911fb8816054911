"""Databases, tables, columns and indexes, as clients are shown them, in the words of both vocabularies. Pure."""

from typing import Any, NotRequired

from typing_extensions import TypedDict

from workers.models.people import Row

Database = TypedDict(
    "Database",
    {
        "$id": str,
        "name": str,
        "$createdAt": str,
        "$updatedAt": str,
        "enabled": bool,
        "type": str,
    },
)
"""A database; ``type`` is that of the API that it was made with, ``tablesdb`` or ``legacy``."""


class DatabaseList(TypedDict):
    """A page of databases."""

    total: int
    databases: list[Database]


Column = TypedDict(
    "Column",
    {
        "key": str,
        "type": str,
        "status": str,
        "error": str,
        "required": bool,
        "array": bool,
        "$createdAt": str,
        "$updatedAt": str,
        "default": NotRequired[Any],
        "size": NotRequired[int],
        "encrypt": NotRequired[bool],
        "format": NotRequired[str],
        "elements": NotRequired[list[str]],
        "min": NotRequired[float | None],
        "max": NotRequired[float | None],
        "relatedTable": NotRequired[str],
        "relatedCollection": NotRequired[str],
        "relationType": NotRequired[str],
        "twoWay": NotRequired[bool],
        "twoWayKey": NotRequired[str],
        "onDelete": NotRequired[str],
        "side": NotRequired[str],
    },
)
"""A column of any type, or an attribute. What its type does not have is left out."""


class ColumnList(TypedDict):
    """A page of columns."""

    total: int
    columns: list[Column]


class AttributeList(TypedDict):
    """A page of attributes."""

    total: int
    attributes: list[Column]


ColumnIndex = TypedDict(
    "ColumnIndex",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "key": str,
        "type": str,
        "status": str,
        "error": str,
        "columns": list[str],
        "lengths": list[int],
        "orders": list[str],
    },
)
"""An index of a table."""

AttributeIndex = TypedDict(
    "AttributeIndex",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "key": str,
        "type": str,
        "status": str,
        "error": str,
        "attributes": list[str],
        "lengths": list[int],
        "orders": list[str],
    },
)
"""An index of a collection."""


class ColumnIndexList(TypedDict):
    """A page of the indexes of a table."""

    total: int
    indexes: list[ColumnIndex]


class AttributeIndexList(TypedDict):
    """A page of the indexes of a collection."""

    total: int
    indexes: list[AttributeIndex]


Table = TypedDict(
    "Table",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "$permissions": list[str],
        "databaseId": str,
        "name": str,
        "enabled": bool,
        "rowSecurity": bool,
        "columns": list[Column],
        "indexes": list[ColumnIndex],
        "bytesMax": int,
        "bytesUsed": int,
    },
)
"""A table with its columns and indexes. Rows have no limit of their own: ``bytesMax`` is 0."""

Collection = TypedDict(
    "Collection",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "$permissions": list[str],
        "databaseId": str,
        "name": str,
        "enabled": bool,
        "documentSecurity": bool,
        "attributes": list[Column],
        "indexes": list[AttributeIndex],
        "bytesMax": int,
        "bytesUsed": int,
    },
)
"""A table in the words of documents."""


class TableList(TypedDict):
    """A page of tables."""

    total: int
    tables: list[Table]


class CollectionList(TypedDict):
    """A page of collections."""

    total: int
    collections: list[Collection]


def database_model(row: Row) -> Database:
    """Return the model of a row of ``databases``."""
    return {
        "$id": row["id"],
        "name": row["name"],
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "enabled": row["enabled"],
        "type": row["type"],
    }
