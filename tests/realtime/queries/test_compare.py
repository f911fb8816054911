"""Comparison of JSON values: wire specification 6.3."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.queries.compare import identical, number_of, one_of

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from([0.0, 1.0, 2.0, "", "0", "1"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=5,
)


def typed(value: Any) -> str:
    """Write a value so that equal texts mean identical values."""
    if isinstance(value, dict):
        return repr(sorted((key, typed(item)) for key, item in value.items()))
    if isinstance(value, list):
        return f"list{[typed(item) for item in value]}"
    return repr(value)


class TestIdentical:
    @pytest.mark.parametrize(
        ("left", "right"),
        [
            (5, 5.0), ("5", 5), (True, 1), (False, 0), (None, False), (None, ""), ("", []), ([], {}),
            ([1], [1.0]), ([1], [True]), ([1, 2], [2, 1]), ([1], [1, 1]), ({"a": 1}, {"a": 1.0}),
            ({"a": 1}, {"b": 1}), ({"a": [1]}, {"a": [True]}), ("é", "e"), ("a", "A"),
        ],
    )  # fmt: skip
    def test_other_type_or_content_differs(self, left: object, right: object) -> None:
        assert not identical(left, right)
        assert not identical(right, left)

    @pytest.mark.parametrize(
        "value", [None, True, 0, 2**64, 1.5, "x", [], {}, [1, [2.0, None]], {"a": {"b": []}}]
    )
    def test_same_type_and_content_is_identical(self, value: object) -> None:
        assert identical(value, value)

    def test_order_of_members_does_not_count(self) -> None:
        assert identical({"a": 1, "b": 2}, {"b": 2, "a": 1})

    @settings(max_examples=200)
    @given(json_values, json_values)
    def test_agrees_with_comparing_typed_texts(self, left: Any, right: Any) -> None:
        assert identical(left, right) is (typed(left) == typed(right))

    def test_payload_nested_beyond_the_recursion_limit_is_compared(self) -> None:
        deep: list[Any] = []
        for _ in range(50_000):
            deep = [deep]
        assert not identical([[["x"]]], deep)
        assert not identical(deep, [[["x"]]])


class TestOneOf:
    @settings(max_examples=200)
    @given(st.lists(json_values, max_size=4), json_values)
    def test_agrees_with_comparing_each(self, values: list[Any], value: Any) -> None:
        assert one_of(values)(value) is any(identical(each, value) for each in values)


class TestNumberOf:
    @pytest.mark.parametrize(
        ("value", "number"),
        [
            (5, 5), (-1.5, -1.5), ("5", 5), ("+5", 5), ("-5", -5), ("007", 7), ("5.", 5.0), (".5", 0.5),
            ("1e3", 1e3), (" \t\n\r\v\f5 \t\n\r\v\f", 5), ("-1.5E-2", -0.015),
            ("999999999999999999", 999999999999999999), ("9999999999999999999", 1e19),
            ("9" * 5000, float("inf")), ("1e999", float("inf")),
        ],
    )  # fmt: skip
    def test_number_or_numeric_string_is_a_number(self, value: object, number: float) -> None:
        found = number_of(value)
        assert found == number
        assert type(found) is type(number)

    @pytest.mark.parametrize(
        "value",
        ["", " ", "abc", "5 apples", "0x1A", "1_000", "٣", "\u00a05", ".", "+", "1e", "NaN", "inf", "5\x00",
         True, False, None, [], {}],
    )  # fmt: skip
    def test_anything_else_is_none(self, value: object) -> None:
        assert number_of(value) is None
