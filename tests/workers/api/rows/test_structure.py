"""Data against a schema, and rows as the API shows them."""

from typing import Any

import pytest

from workers.api.databases.words import DOCUMENTS, TABLES
from workers.api.rows.structure import (
    StructureError,
    check_required,
    given_values,
    new_values,
    relationships,
    row_model,
)
from workers.store.schema import Column, Relation, Schema, TableRecord

NOW = "2026-01-02T03:04:05.678+00:00"


def column(number: int, key: str, type_: Any, **rest: Any) -> Column:
    return Column(number=number, key=key, type=type_, created_at=NOW, updated_at=NOW, **rest)


AUTHOR = Relation(related_table_id="authors", relation_type="manyToOne")
FRIENDS = Relation(related_table_id="authors", relation_type="manyToMany")

SCHEMA = Schema(
    columns=(
        column(1, "title", "string", size=8, required=True),
        column(2, "votes", "integer", default=7, max=100),
        column(3, "tags", "string", size=4, array=True),
        column(4, "due", "datetime"),
        column(5, "author", "relationship", relation=AUTHOR),
        column(6, "friends", "relationship", relation=FRIENDS, array=True),
    )
)
TABLE = TableRecord(
    seq=3,
    id="posts",
    name="Posts",
    database_id="main",
    database_type="tablesdb",
    table_enabled=True,
    database_enabled=True,
    row_security=False,
    permissions=(),
    created_at=NOW,
    updated_at=NOW,
    schema=SCHEMA,
)


ROW = {
    "seq": 12, "id": "a", "permissions": ['read("any")'], "created_at": NOW, "updated_at": NOW,
    "c1": "x", "c2": None, "c3": None, "c4": None, "c5": "ada", "c6": ["bob"],
}  # fmt: skip


class TestNewValues:
    def test_every_column_has_a_value(self) -> None:
        assert new_values(SCHEMA, {"title": "x"}) == {
            "c1": "x", "c2": 7, "c3": None, "c4": None, "c5": None, "c6": None,
        }  # fmt: skip

    def test_null_is_kept_where_there_is_a_default(self) -> None:
        assert new_values(SCHEMA, {"title": "x", "votes": None})["c2"] is None

    @pytest.mark.parametrize(
        ("data", "text"),
        [
            ({}, 'Missing required attribute "title"'),
            ({"title": None}, 'Missing required attribute "title"'),
            ({"title": "x", "color": "red"}, 'Unknown attribute: "color"'),
            ({"title": "x", "$color": "red"}, 'Unknown attribute: "$color"'),
            ({"title": "x" * 9}, 'Attribute "title" has invalid type'),
            ({"title": 5}, 'Attribute "title" has invalid type'),
            ({"title": "x", "votes": 101}, 'Attribute "votes" has invalid format'),
            ({"title": "x", "votes": "1"}, 'Attribute "votes" has invalid type'),
            ({"title": "x", "votes": 2**63}, 'Attribute "votes" has invalid type'),
            ({"title": "x", "tags": "a"}, 'Attribute "tags" has invalid type'),
            ({"title": "x", "tags": ["a", 1]}, "Attribute \"tags['1']\" has invalid type"),
            ({"title": "x", "due": "soon"}, 'Attribute "due" has invalid type'),
            ({"title": "x", "author": 5}, 'Attribute "author" has invalid type'),
            ({"title": "x", "author": {"name": "Ada"}}, 'Attribute "author" has invalid type'),
        ],
    )
    def test_data_that_does_not_fit_is_refused_by_name(self, data: dict[str, Any], text: str) -> None:
        with pytest.raises(StructureError) as refusal:
            new_values(SCHEMA, data)
        assert text in str(refusal.value)


class TestGivenValues:
    def test_only_what_is_given_is_returned(self) -> None:
        assert given_values(SCHEMA, {"votes": 3, "due": "2026-05-06"}) == {
            "c2": 3, "c4": "2026-05-06T00:00:00.000+00:00",
        }  # fmt: skip

    def test_members_of_a_model_are_passed_over(self) -> None:
        row = {"seq": 1, "id": "a", "permissions": [], "created_at": NOW, "updated_at": NOW}
        for words in (TABLES, DOCUMENTS):
            model = row_model(TABLE, words, row, ())
            assert given_values(SCHEMA, model) == {}

    def test_related_rows_are_taken_by_their_ids(self) -> None:
        """A client may send back what it was shown, expanded."""
        given = {"author": {"$id": "ada", "name": "Ada"}, "friends": ["bob", {"$id": "eve"}]}
        assert given_values(SCHEMA, given) == {"c5": "ada", "c6": ["bob", "eve"]}


class TestCheckRequired:
    def test_row_without_a_required_value_is_refused(self) -> None:
        with pytest.raises(StructureError, match="title"):
            check_required(SCHEMA, {"c1": None})
        check_required(SCHEMA, {"c1": ""})


class TestRowModel:
    def test_own_members_come_first(self) -> None:
        assert row_model(TABLE, TABLES, ROW) == {
            "$id": "a",
            "$sequence": "12",
            "$createdAt": NOW,
            "$updatedAt": NOW,
            "$permissions": ['read("any")'],
            "$databaseId": "main",
            "$tableId": "posts",
            "title": "x",
            "votes": None,
            "tags": [],
            "due": None,
            "author": "ada",
            "friends": ["bob"],
        }

    def test_documents_are_in_collections(self) -> None:
        model = row_model(TABLE, DOCUMENTS, ROW, SCHEMA.columns[:1])
        assert list(model)[-3:] == ["$databaseId", "$collectionId", "title"]


class TestRelationships:
    def test_columns_that_lead_elsewhere_are_named(self) -> None:
        assert relationships(SCHEMA) == ("author", "friends")
