"""Columns and indexes as bodies define them, checked and made into those of a schema. Pure.

Every rule about what a table may look like is here; SQL and events are the routes' business.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic import ValidationError

from workers.api.databases.bodies import (
    KINDS,
    MAX_COLUMNS,
    MAX_INDEXES,
    ColumnChange,
    Kind,
    NewColumn,
    NewIndex,
    NewRelationship,
    NewShape,
)
from workers.api.databases.words import Words
from workers.api.problems import Problem, refuse
from workers.api.validation import explain_first
from workers.store.schema import Column, Index, Relation, Schema
from workers.store.values import check_value, max_chars

MAX_INDEX_CHARS = 768
"""How many characters the columns of an index may have in all; more would not fit into a page of PostgreSQL."""

_SYSTEM_KEYS = frozenset({"$id", "$sequence", "$createdAt", "$updatedAt"})
_MODEL_TYPES = {"double": "float", "linestring": "line"}
"""Kinds whose columns are shown with another type than their path."""
_SHAPES = frozenset({"point", "linestring", "polygon"})


def parse_column(given: Mapping[str, Any], words: Words) -> tuple[Kind, Any]:
    """Return the kind and the body of a column that is defined along with its table.

    Raises:
        ApiError: 400 ``column_type_invalid``, or what is wrong with the body.
    """
    name = str(given.get("type"))
    if name == "string" and given.get("format"):
        name = str(given["format"])
    kind = KINDS.get(_MODEL_TYPES.get(name, name))
    if kind is None:
        raise refuse(Problem.COLUMN_TYPE, word=words.column)
    members: dict[str, Any] = {"required": False, **given}
    if kind.column_type == "relationship":
        members["type"] = given.get("relationType")
    return kind, _validated(kind.body, members, words.columns)


def parse_index(given: Mapping[str, Any]) -> NewIndex:
    """Return the body of an index that is defined along with its table.

    Raises:
        ApiError: 400, what is wrong with it.
    """
    index: NewIndex = _validated(NewIndex, given, "indexes")
    return index


def _validated(body: type[Any], given: Mapping[str, Any], where: str) -> Any:
    try:
        return body.model_validate(given)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        reason = explain_first({**detail, "loc": ("body", where, *detail["loc"])})
        raise refuse(Problem.ARGUMENT, reason=reason) from error


def add_column(
    schema: Schema, kind: Kind, body: NewColumn | NewShape | NewRelationship, *, now: str, words: Words
) -> Schema:
    """Return ``schema`` with one more column, its last.

    Raises:
        ApiError: 409 ``column_already_exists``; 400 for too many columns, or a definition that contradicts itself.
    """
    if len(schema.columns) >= MAX_COLUMNS:
        raise refuse(Problem.COLUMN_LIMIT, word=words.column)
    number = schema.last_number + 1
    if isinstance(body, NewRelationship):
        column = _relationship(number, body, now)
    else:
        column = _column(number, kind, body, now, words)
    if schema.column(column.key) is not None:
        raise refuse(Problem.COLUMN_EXISTS, word=words.column)
    return msgspec.structs.replace(schema, columns=(*schema.columns, column), last_number=number)


def _column(number: int, kind: Kind, body: NewColumn | NewShape, now: str, words: Words) -> Column:
    if getattr(body, "encrypt", False):
        raise refuse(
            Problem.ARGUMENT, reason="Invalid `encrypt` param: Values are not encrypted by this server."
        )
    column = Column(
        number=number,
        key=body.key,
        type=kind.column_type,
        created_at=now,
        updated_at=now,
        required=body.required,
        array=getattr(body, "array", False),
        default=body.default,
        size=getattr(body, "size", kind.size),
        format=kind.string_format,
        elements=tuple(getattr(body, "elements", ())),
        min=getattr(body, "min", None),
        max=getattr(body, "max", None),
    )
    return _checked(column, words)


def _relationship(number: int, body: NewRelationship, now: str) -> Column:
    if body.twoWay:
        raise refuse(
            Problem.ARGUMENT,
            reason="Invalid `twoWay` param: Relationships lead one way on this server. Create one in each table.",
        )
    relation = Relation(
        related_table_id=body.relatedTableId, relation_type=body.type, on_delete=body.onDelete
    )
    return Column(
        number=number,
        key=body.key or body.relatedTableId,
        type="relationship",
        created_at=now,
        updated_at=now,
        array=body.type in ("oneToMany", "manyToMany"),
        relation=relation,
    )


def change_column(schema: Schema, column: Column, body: ColumnChange, *, now: str, words: Words) -> Schema:
    """Return ``schema`` with ``column``, which is one of its own, as ``body`` wants it.

    Raises:
        ApiError: 409 ``column_already_exists`` for a new key that is taken; 400 for a definition that contradicts
            itself.
    """
    given = {
        name: value for name in ("size", "min", "max") if (value := getattr(body, name, None)) is not None
    }
    elements = tuple(getattr(body, "elements", column.elements))
    changed = msgspec.structs.replace(
        column, required=body.required, default=body.default, elements=elements, updated_at=now, **given
    )
    return replace_column(schema, column, _checked(changed, words), body.newKey, words)


def replace_column(
    schema: Schema, column: Column, changed: Column, new_key: str | None, words: Words
) -> Schema:
    """Return ``schema`` with ``changed`` in the place of ``column``, renamed if it is given a new key.

    Raises:
        ApiError: 409 ``column_already_exists`` for a new key that is taken.
    """
    indexes = schema.indexes
    if new_key is not None and new_key != column.key:
        if schema.column(new_key) is not None:
            raise refuse(Problem.COLUMN_EXISTS, word=words.column)
        changed = msgspec.structs.replace(changed, key=new_key)
        indexes = tuple(_with_renamed(index, column.key, new_key) for index in indexes)
    columns = tuple(changed if each is column else each for each in schema.columns)
    return msgspec.structs.replace(schema, columns=columns, indexes=indexes)


def _with_renamed(index: Index, key: str, new_key: str) -> Index:
    columns = tuple(new_key if each == key else each for each in index.columns)
    return msgspec.structs.replace(index, columns=columns)


def remove_column(schema: Schema, column: Column) -> tuple[Schema, tuple[Index, ...]]:
    """Return ``schema`` without ``column``, and the indexes on it, which go with it."""
    gone = tuple(index for index in schema.indexes if column.key in index.columns)
    return msgspec.structs.replace(
        schema,
        columns=tuple(each for each in schema.columns if each is not column),
        indexes=tuple(index for index in schema.indexes if index not in gone),
    ), gone


def _checked(column: Column, words: Words) -> Column:
    """Return ``column`` with its default as it is stored.

    Raises:
        ApiError: 400, the range is empty, or it cannot have this default.
    """
    if column.min is not None and column.max is not None and column.min > column.max:
        raise _invalid_value(words, "The minimum must not be greater than the maximum.")
    if column.default is None:
        return column
    if column.required or column.array:
        raise refuse(Problem.COLUMN_DEFAULT, word=words.column)
    try:
        default = check_value(column, column.default)
    except ValueError as error:
        raise _invalid_value(words, f"{error}.") from error
    return msgspec.structs.replace(column, default=default)


def _invalid_value(words: Words, reason: str) -> Exception:
    return refuse(Problem.COLUMN_VALUE, word=words.column, reason=reason)


def add_index(schema: Schema, body: NewIndex, *, now: str, words: Words) -> Schema:
    """Return ``schema`` with one more index, its last.

    Raises:
        ApiError: 409 ``index_already_exists``; 404 for a column that is not there; 400 for too many indexes, or columns
            that such an index cannot have.
    """
    if len(schema.indexes) >= MAX_INDEXES:
        raise refuse(Problem.INDEX_LIMIT, word=words.index)
    if schema.index(body.key) is not None:
        raise refuse(Problem.INDEX_EXISTS, word=words.index)
    number = schema.last_number + 1
    index = Index(
        number=number,
        key=body.key,
        type=body.type,
        columns=tuple(body.columns),
        created_at=now,
        updated_at=now,
        orders=tuple((order or "ASC").upper() for order in body.orders),
        lengths=tuple(length or 0 for length in body.lengths),
    )
    _check_index(schema, index, words)
    return msgspec.structs.replace(schema, indexes=(*schema.indexes, index), last_number=number)


def _check_index(schema: Schema, index: Index, words: Words) -> None:
    if len(set(index.columns)) != len(index.columns):
        raise _invalid_index(words, f"Index contains duplicate {words.columns}.")
    if max(len(index.orders), len(index.lengths)) > len(index.columns):
        raise _invalid_index(words, f"There are more orders or lengths than {words.columns}.")
    for key in index.columns:
        if key not in _SYSTEM_KEYS:
            _check_indexed(schema.column(key), index, words)
        elif index.type in ("fulltext", "spatial"):
            raise _invalid_index(words, f'A {index.type} index cannot be on "{key}".')
    if index.type in ("key", "unique"):
        chars = sum(_indexed_chars(schema, index, position) for position in range(len(index.columns)))
        if chars > MAX_INDEX_CHARS:
            raise _invalid_index(
                words, f"Index length is longer than the maximum: {MAX_INDEX_CHARS}. Give shorter lengths."
            )


def _check_indexed(column: Column | None, index: Index, words: Words) -> None:
    """Refuse an index on a column that is not there, or of a type that does not suit it."""
    if column is None:
        raise refuse(Problem.NOT_FOUND, word=words.column)
    if column.relation is not None:
        raise _invalid_index(words, f'"{column.key}" is a relationship, which cannot be indexed.')
    if (column.type in _SHAPES) != (index.type == "spatial"):
        raise _invalid_index(words, "Spatial indexes are for points, lines and polygons, and only they.")
    if index.type == "fulltext" and (column.array or not max_chars(column)):
        raise _invalid_index(words, f'"{column.key}" holds no texts, which a fulltext index is for.')
    if column.array and (index.type == "unique" or len(index.columns) > 1):
        raise _invalid_index(
            words, f'"{column.key}" is an array, which only a key index of its own can be on.'
        )


def _indexed_chars(schema: Schema, index: Index, position: int) -> int:
    column = schema.column(index.columns[position])
    if column is None or column.array:
        return 0
    chars = max_chars(column)
    length = index.lengths[position] if position < len(index.lengths) else 0
    return min(length or chars, chars)


def _invalid_index(words: Words, reason: str) -> Exception:
    return refuse(Problem.INDEX_INVALID, word=words.index, reason=reason)


def remove_index(schema: Schema, index: Index) -> Schema:
    """Return ``schema`` without ``index``, which is one of its own."""
    return msgspec.structs.replace(
        schema, indexes=tuple(each for each in schema.indexes if each is not index)
    )
