"""Tables, columns and indexes as the models of :mod:`workers.models.databases`, in the words that were called. Pure.

Whatever is shown is ready for use: a schema and its SQL table change in one transaction, so the ``status`` of
a column or index is always ``available``.
"""

from typing import Any

from workers.api.databases.words import Words
from workers.store.schema import Column, Index, TableRecord

_TEXTS = frozenset({"string", "varchar", "text", "mediumtext", "longtext"})
_SIZED = frozenset({"string", "varchar"})
_NUMBERS = frozenset({"integer", "bigint", "double"})


def column_model(column: Column, words: Words) -> dict[str, Any]:
    """Return the model of a column: what all have, then what those of its type have."""
    model: dict[str, Any] = {
        "key": column.key,
        "type": column.type,
        "status": "available",
        "error": "",
        "required": column.required,
        "array": column.array and column.relation is None,
        "$createdAt": column.created_at,
        "$updatedAt": column.updated_at,
    }
    return model | _own_members(column, words)


def _own_members(column: Column, words: Words) -> dict[str, Any]:
    if column.relation is not None:
        return {
            f"related{words.table.capitalize()}": column.relation.related_table_id,
            "relationType": column.relation.relation_type,
            "twoWay": column.relation.two_way,
            "twoWayKey": column.relation.two_way_key,
            "onDelete": column.relation.on_delete,
            "side": column.relation.side,
        }
    members: dict[str, Any] = {"default": column.default}
    if column.format:
        members["format"] = column.format
        if column.format == "enum":
            members["elements"] = list(column.elements)
    elif column.type in _TEXTS:
        members["encrypt"] = column.encrypt
        if column.type in _SIZED:
            members["size"] = column.size
    elif column.type in _NUMBERS:
        members |= {"min": column.min, "max": column.max}
    elif column.type == "datetime":
        members["format"] = ""
    return members


def index_model(index: Index, words: Words) -> dict[str, Any]:
    """Return the model of an index."""
    return {
        "$id": index.key,
        "$createdAt": index.created_at,
        "$updatedAt": index.updated_at,
        "key": index.key,
        "type": index.type,
        "status": "available",
        "error": "",
        words.columns: list(index.columns),
        "lengths": list(index.lengths),
        "orders": list(index.orders),
    }


def table_model(record: TableRecord, words: Words) -> dict[str, Any]:
    """Return the model of a table, with its columns and indexes."""
    return {
        "$id": record.id,
        "$createdAt": record.created_at,
        "$updatedAt": record.updated_at,
        "$permissions": list(record.permissions),
        "databaseId": record.database_id,
        "name": record.name,
        "enabled": record.table_enabled,
        words.row_security: record.row_security,
        words.columns: [column_model(column, words) for column in record.schema.columns],
        "indexes": [index_model(index, words) for index in record.schema.indexes],
        "bytesMax": 0,
        "bytesUsed": 0,
    }
