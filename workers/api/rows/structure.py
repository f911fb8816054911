"""What the schema of a table says about the data of a row: checks on the way in, the model on the way out. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from workers.api.databases.words import Words
from workers.models.rows import StoredRow, row_head
from workers.store.schema import Column, Schema, TableRecord
from workers.store.values import check_value

SYSTEM_MEMBERS = frozenset({
    "$id", "$sequence", "$createdAt", "$updatedAt", "$permissions", "$databaseId", "$tableId", "$collectionId",
})  # fmt: skip
"""Members of a model that data may still have when a client sends it back. They are no columns."""


class StructureError(ValueError):
    """The data does not fit the schema; the text names the column."""


def new_values(schema: Schema, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a new row, one for each column, by the names of the SQL columns.

    Raises:
        StructureError: a column is not known, a required one is missing, or a value does not fit.
    """
    given = given_values(schema, data)
    values: dict[str, Any] = {}
    for column in schema.columns:
        value = given.get(column.sql_name)
        if value is None and column.sql_name not in given:
            value = column.default
        values[column.sql_name] = value
    check_required(schema, values)
    return values


def given_values(schema: Schema, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that ``data`` has, by the names of the SQL columns.

    Raises:
        StructureError: a column is not known, a required one is null, or a value does not fit.
    """
    columns = {column.key: column for column in schema.columns}
    values: dict[str, Any] = {}
    for key, value in data.items():
        column = columns.get(key)
        if column is not None:
            values[column.sql_name] = _stored(column, value)
        elif key not in SYSTEM_MEMBERS:
            raise StructureError(f'Unknown attribute: "{key}"')
    return values


def check_required(schema: Schema, values: Mapping[str, Any]) -> None:
    """Refuse a row without a value for a required column.

    Raises:
        StructureError: naming the first such column.
    """
    for column in schema.columns:
        if column.required and values.get(column.sql_name) is None:
            raise StructureError(f'Missing required attribute "{column.key}"')


def row_model(
    table: TableRecord, words: Words, row: StoredRow, columns: Iterable[Column] | None = None
) -> dict[str, Any]:
    """Return a row as the API shows it: its own members, then ``columns``, or else all columns."""
    model = row_head(row, database_id=table.database_id, table_id=table.id, table_member=words.row_table_id)
    for column in table.schema.columns if columns is None else columns:
        value = row[column.sql_name]
        # Rows from before the column was added have no list yet.
        model[column.key] = [] if value is None and column.array else value
    return model


def relationships(schema: Schema) -> tuple[str, ...]:
    """Return the keys of the columns that lead to other tables; realtime does not show them (specification 9.2)."""
    return tuple(column.key for column in schema.columns if column.type == "relationship")


def _stored(column: Column, value: Any) -> Any:
    if column.type == "relationship":
        value = [_related_id(item) for item in value] if isinstance(value, list) else _related_id(value)
    try:
        return check_value(column, value)
    except ValueError as error:
        raise StructureError(str(error)) from error


def _related_id(value: Any) -> Any:
    """Return the ID of a related row, which a client may send back as it was shown: expanded."""
    return value["$id"] if isinstance(value, dict) and "$id" in value else value
