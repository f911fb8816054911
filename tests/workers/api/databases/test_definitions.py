"""What a table may look like: definitions of columns and indexes, checked without a database."""

from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from workers.api.databases.bodies import (
    KINDS,
    MAX_COLUMNS,
    MAX_INDEXES,
    ColumnChange,
    EnumChange,
    IntegerChange,
    NewIndex,
    SizedChange,
)
from workers.api.databases.definitions import (
    add_column,
    add_index,
    change_column,
    parse_column,
    remove_column,
    remove_index,
    replace_column,
)
from workers.api.databases.words import DOCUMENTS, TABLES
from workers.api.errors import ApiError
from workers.store.schema import Schema, decode_schema, encode_schema

NOW = "2026-01-02T03:04:05.678+00:00"


def schema_of(*columns: dict[str, Any], indexes: tuple[dict[str, Any], ...] = ()) -> Schema:
    schema = Schema()
    for column in columns:
        schema = add_column(schema, *parse_column(column, TABLES), now=NOW, words=TABLES)
    for index in indexes:
        schema = add_index(schema, NewIndex.model_validate(index), now=NOW, words=TABLES)
    return schema


def text(key: str, **members: Any) -> dict[str, Any]:
    return {"key": key, "type": "string", "size": 100, **members}


def refused(*columns: dict[str, Any], indexes: tuple[dict[str, Any], ...] = ()) -> str:
    """Return the type of the refusal of a table."""
    with pytest.raises(ApiError) as caught:
        schema_of(*columns, indexes=indexes)
    return caught.value.type


class TestAddColumn:
    @pytest.mark.parametrize("name", KINDS)
    def test_every_kind_gives_a_column_of_its_type(self, name: str) -> None:
        given = {
            "key": "it", "type": name, "size": 9, "elements": ["a"], "relatedTableId": "t",
            "relationType": "oneToOne",
        }  # fmt: skip
        (column,) = schema_of(given).columns
        assert (column.key, column.type, column.format) == (
            "it", KINDS[name].column_type, KINDS[name].string_format
        )  # fmt: skip

    def test_schema_survives_its_text(self) -> None:
        schema = schema_of(
            text("a", default="x"),
            {"key": "e", "type": "enum", "elements": ["a", "b"]},
            {"key": "p", "type": "point", "default": [1, 2]},
            {"key": "r", "type": "relationship", "relatedTableId": "t", "relationType": "manyToMany"},
            indexes=({"key": "i", "type": "key", "columns": ["a", "$createdAt"], "orders": ["desc", None]},),
        )
        assert decode_schema(encode_schema(schema)) == schema

    def test_numbers_are_never_used_twice(self) -> None:
        schema = schema_of(text("a"), text("b"))
        schema, _ = remove_column(schema, schema.columns[1])
        schema = add_column(schema, *parse_column(text("c"), TABLES), now=NOW, words=TABLES)
        assert [column.number for column in schema.columns] == [1, 3]

    def test_many_related_rows_make_a_list(self) -> None:
        for relation_type, is_list in (
            ("oneToOne", False), ("manyToOne", False), ("oneToMany", True), ("manyToMany", True)
        ):  # fmt: skip
            given = {"type": "relationship", "relatedTableId": "t", "relationType": relation_type}
            (column,) = schema_of(given).columns
            assert (column.key, column.array) == ("t", is_list)

    def test_default_is_stored_like_a_value(self) -> None:
        schema = schema_of(
            {"key": "f", "type": "float", "default": 1}, {"key": "d", "type": "datetime", "default": "2026-01-02"}
        )  # fmt: skip
        assert [column.default for column in schema.columns] == [1.0, "2026-01-02T00:00:00.000+00:00"]

    @pytest.mark.parametrize(
        ("column", "problem"),
        [
            (text("a", default="x", required=True), "column_default_unsupported"),
            (text("a", default="x", array=True), "column_default_unsupported"),
            (text("a", default="x" * 101), "column_value_invalid"),
            ({"key": "a", "type": "integer", "min": 3, "max": 2}, "column_value_invalid"),
            ({"key": "a", "type": "integer", "min": 3, "default": 2}, "column_value_invalid"),
            ({"key": "a", "type": "integer", "max": 2**63}, "general_argument_invalid"),
            ({"key": "a", "type": "float", "max": float("nan")}, "general_argument_invalid"),
            ({"key": "a", "type": "enum", "elements": []}, "general_argument_invalid"),
            ({"key": "a", "type": "enum", "elements": ["a"], "default": "b"}, "column_value_invalid"),
            (text("a", encrypt=True), "general_argument_invalid"),
            (text("a", size=0), "general_argument_invalid"),
            (text("$id"), "general_argument_invalid"),
            (text("a b"), "general_argument_invalid"),
            (text("a\n"), "general_argument_invalid"),
            (text("a" * 37), "general_argument_invalid"),
            (
                {"type": "relationship", "relatedTableId": "t", "relationType": "oneToOne", "twoWay": True},
                "general_argument_invalid",
            ),
        ],
    )
    def test_contradiction_is_refused(self, column: dict[str, Any], problem: str) -> None:
        assert refused(column) == problem

    def test_taken_key_is_a_conflict(self) -> None:
        assert refused(text("a"), {"key": "a", "type": "boolean"}) == "column_already_exists"

    def test_one_too_many_is_refused(self) -> None:
        columns = [{"key": f"k{number}", "type": "boolean"} for number in range(MAX_COLUMNS)]
        full = schema_of(*columns)
        with pytest.raises(ApiError) as caught:
            add_column(full, *parse_column(text("more"), DOCUMENTS), now=NOW, words=DOCUMENTS)
        assert caught.value.type == "attribute_limit_exceeded"


class TestChangeColumn:
    def test_only_what_is_given_changes(self) -> None:
        schema = schema_of({"key": "n", "type": "integer", "min": 1, "max": 5, "default": 2})
        body = IntegerChange(required=False, default=3, max=9)
        changed = change_column(schema, schema.columns[0], body, now="later", words=TABLES).columns[0]
        assert (changed.min, changed.max, changed.default) == (1, 9, 3)
        assert (changed.created_at, changed.updated_at) == (NOW, "later")

    def test_default_that_is_left_out_is_gone(self) -> None:
        schema = schema_of(text("a", default="x"))
        body = SizedChange(required=True, size=5)
        changed = change_column(schema, schema.columns[0], body, now=NOW, words=TABLES).columns[0]
        assert (changed.default, changed.size, changed.required) == (None, 5, True)

    def test_new_key_reaches_the_indexes(self) -> None:
        schema = schema_of(
            text("a"), text("b"), indexes=({"key": "i", "type": "key", "columns": ["b", "a"]},)
        )
        body = ColumnChange(required=False, newKey="c")
        changed = change_column(schema, schema.columns[0], body, now=NOW, words=TABLES)
        assert [column.key for column in changed.columns] == ["c", "b"]
        assert changed.indexes[0].columns == ("b", "c")
        assert changed.columns[0].number == schema.columns[0].number

    def test_own_key_is_no_conflict_and_a_taken_one_is(self) -> None:
        schema = schema_of(text("a"), text("b"))
        column = schema.columns[0]
        assert replace_column(schema, column, column, "a", TABLES) == schema
        with pytest.raises(ApiError) as caught:
            replace_column(schema, column, column, "b", TABLES)
        assert caught.value.type == "column_already_exists"

    def test_default_must_be_among_the_new_elements(self) -> None:
        schema = schema_of({"key": "e", "type": "enum", "elements": ["a"]})
        body = EnumChange(required=False, default="b", elements=["b"])
        assert change_column(schema, schema.columns[0], body, now=NOW, words=TABLES).columns[0].elements == (
            "b",
        )
        body = EnumChange(required=False, default="a", elements=["b"])
        with pytest.raises(ApiError):
            change_column(schema, schema.columns[0], body, now=NOW, words=TABLES)


class TestRemove:
    def test_indexes_go_with_their_column(self) -> None:
        schema = schema_of(
            text("a"),
            text("b"),
            indexes=(
                {"key": "ab", "type": "key", "columns": ["a", "b"]},
                {"key": "b", "type": "key", "columns": ["b"]},
            ),
        )
        rest, gone = remove_column(schema, schema.columns[0])
        assert [column.key for column in rest.columns] == ["b"]
        assert [index.key for index in rest.indexes] == ["b"]
        assert [index.key for index in gone] == ["ab"]

    def test_index_is_gone(self) -> None:
        schema = schema_of(text("a"), indexes=({"key": "i", "type": "key", "columns": ["a"]},))
        assert remove_index(schema, schema.indexes[0]) == msgspec.structs.replace(schema, indexes=())


class TestAddIndex:
    COLUMNS = (
        text("a"),
        text("long", type="text"),
        text("list", array=True),
        {"key": "n", "type": "integer"},
        {"key": "p", "type": "point"},
        {"type": "relationship", "relatedTableId": "r", "relationType": "oneToOne"},
    )

    @pytest.mark.parametrize(
        "index",
        [
            {"type": "key", "columns": ["a", "n", "$createdAt", "$id", "$sequence"]},
            {"type": "key", "columns": ["list"]},
            {"type": "key", "columns": ["long"], "lengths": [255]},
            {"type": "unique", "columns": ["a", "n"], "orders": ["ASC", "DESC"]},
            {"type": "fulltext", "columns": ["long", "a"]},
            {"type": "spatial", "columns": ["p"]},
        ],
    )
    def test_index_that_suits_its_columns_is_added(self, index: dict[str, Any]) -> None:
        (added,) = schema_of(*self.COLUMNS, indexes=({"key": "i", **index},)).indexes
        assert added.columns == tuple(index["columns"])

    @pytest.mark.parametrize(
        ("index", "problem"),
        [
            ({"type": "key", "columns": ["none"]}, "column_not_found"),
            ({"type": "key", "columns": ["$permissions"]}, "column_not_found"),
            ({"type": "key", "columns": ["a", "a"]}, "column_index_invalid"),
            ({"type": "key", "columns": ["a"], "orders": ["ASC", "ASC"]}, "column_index_invalid"),
            ({"type": "key", "columns": ["long"]}, "column_index_invalid"),
            ({"type": "key", "columns": ["long"], "lengths": [769]}, "column_index_invalid"),
            ({"type": "key", "columns": ["list", "a"]}, "column_index_invalid"),
            ({"type": "unique", "columns": ["list"]}, "column_index_invalid"),
            ({"type": "key", "columns": ["p"]}, "column_index_invalid"),
            ({"type": "spatial", "columns": ["a"]}, "column_index_invalid"),
            ({"type": "fulltext", "columns": ["n"]}, "column_index_invalid"),
            ({"type": "fulltext", "columns": ["$id"]}, "column_index_invalid"),
            ({"type": "key", "columns": ["r"]}, "column_index_invalid"),
        ],
    )
    def test_index_that_does_not_is_refused(self, index: dict[str, Any], problem: str) -> None:
        assert refused(*self.COLUMNS, indexes=({"key": "i", **index},)) == problem

    def test_taken_key_is_a_conflict(self) -> None:
        index = {"key": "i", "type": "key", "columns": ["a"]}
        assert refused(text("a"), indexes=(index, index)) == "column_index_already_exists"

    def test_one_too_many_is_refused(self) -> None:
        indexes = [
            {"key": f"i{number}", "type": "key", "columns": ["a"]} for number in range(MAX_INDEXES + 1)
        ]
        assert len(schema_of(text("a"), indexes=tuple(indexes[:-1])).indexes) == MAX_INDEXES
        assert refused(text("a"), indexes=tuple(indexes)) == "column_index_limit_exceeded"

    @pytest.mark.parametrize("members", [{"columns": []}, {"type": "gin"}, {"key": "$i"}, {"lengths": [-1]}])
    def test_body_is_limited(self, members: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            NewIndex.model_validate({"key": "i", "type": "key", "columns": ["a"], **members})
