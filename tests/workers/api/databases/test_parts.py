"""Lists in memory: filters, orders and pages of columns and indexes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.api.databases.parts import list_parts
from workers.store.queries import CursorNotFoundError, ListQuery, parse_list

PARTS: list[dict[str, Any]] = [
    {"key": "a", "type": "string", "size": 10},
    {"key": "b", "type": "integer"},
    {"key": "c", "type": "string", "size": 5},
]


def query(*parts: dict[str, Any]) -> ListQuery:
    return parse_list([json.dumps(part) for part in parts])


def keys(*parts: dict[str, Any]) -> list[str]:
    return [part["key"] for part in list_parts(PARTS, query(*parts))[1]]


class TestListParts:
    def test_without_queries_all_are_listed(self) -> None:
        assert list_parts(PARTS, query()) == (3, PARTS)

    def test_filters_choose_and_count(self) -> None:
        total, page = list_parts(
            PARTS,
            query(
                {"method": "equal", "attribute": "type", "values": ["string"]},
                {"method": "limit", "values": [1]},
            ),
        )
        assert (total, [part["key"] for part in page]) == (2, ["a"])

    def test_what_has_no_value_comes_first(self) -> None:
        assert keys({"method": "orderAsc", "attribute": "size"}) == ["b", "c", "a"]
        assert keys({"method": "orderDesc", "attribute": "size"}) == ["a", "c", "b"]

    def test_first_order_counts_most(self) -> None:
        by_type = {"method": "orderAsc", "attribute": "type"}
        assert keys(by_type, {"method": "orderDesc", "attribute": "key"}) == ["b", "c", "a"]

    @given(
        st.lists(st.integers(0, 30), unique=True, max_size=12),
        st.integers(1, 6),
        st.integers(0, 6),
        st.booleans(),
        st.integers(0, 11) | st.none(),
    )
    def test_page_is_the_slice_beside_the_cursor(
        self, numbers: list[int], limit: int, offset: int, before: bool, position: int | None
    ) -> None:
        names = [str(number) for number in numbers]
        parts = [{"key": name} for name in names]
        wanted: list[dict[str, Any]] = [
            {"method": "limit", "values": [limit]}, {"method": "offset", "values": [offset]}
        ]  # fmt: skip
        reach = names[offset:]
        if position is not None and position < len(names):
            wanted.append(
                {"method": "cursorBefore" if before else "cursorAfter", "values": [names[position]]}
            )
            if before:
                # Counted from the cursor on, away from it.
                away = list(reversed(names[:position]))[offset:][:limit]
                assert self.page(parts, wanted) == list(reversed(away))
                return
            reach = names[position + 1 :][offset:]
        assert self.page(parts, wanted) == reach[:limit]

    def page(self, parts: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> list[str]:
        total, found = list_parts(parts, query(*wanted))
        assert total == len(parts)
        return [part["key"] for part in found]

    def test_unknown_cursor_is_refused(self) -> None:
        with pytest.raises(CursorNotFoundError):
            keys({"method": "cursorAfter", "values": ["none"]})
