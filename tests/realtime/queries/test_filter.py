"""Compiled filters against payloads: wire specification 6.3 and 16.10."""

import gc
import json
import operator
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.errors import InvalidQueryError
from realtime.queries import Filter, Query, compile_filter, parse_queries
from realtime.queries.filter import _interned

PAYLOAD: dict[str, Any] = {
    "$id": "42",
    "$createdAt": "2024-05-01T10:00:00.000+00:00",
    "status": "active",
    "count": 5,
    "price": 5.0,
    "ok": True,
    "none": None,
    "tags": ["red", "green", 7],
    "nested": {"a": 1},
    "code": "10",
    "title": "The Quick brown Fox-hunt",
}


def text(method: str, attribute: str = "", *values: object) -> str:
    return json.dumps({"method": method, "attribute": attribute, "values": values})


def group(method: str, *queries: str) -> str:
    return f'{{"method":"{method}","values":[{",".join(queries)}]}}'


def passes(*texts: str, payload: dict[str, Any] = PAYLOAD) -> bool:
    compiled = compile_filter(texts)
    assert compiled is not None
    return compiled.matches(payload)


TRUE = text("isNotNull", "status")
FALSE = text("isNull", "status")


class TestMethods:
    @pytest.mark.parametrize(
        ("method", "attribute", "values", "expected"),
        [
            ("equal", "status", ["active"], True),
            ("equal", "status", ["x", "active"], True),
            ("equal", "status", ["Active"], False),
            ("equal", "status", [], False),
            ("equal", "$id", ["42"], True),
            ("equal", "$id", [42], False),
            ("equal", "count", [5], True),
            ("equal", "count", [5.0], False),
            ("equal", "count", ["5"], False),
            ("equal", "price", [5], False),
            ("equal", "price", [5.0], True),
            ("equal", "ok", [1], False),
            ("equal", "ok", [True], True),
            ("equal", "none", [None], True),
            ("equal", "none", ["", False, 0], False),
            ("equal", "tags", [["red", "green", 7]], True),
            ("equal", "tags", [["red", "green", 7.0]], False),
            ("equal", "tags", ["red"], False),
            ("equal", "nested", [{"a": 1}], True),
            ("equal", "nested.a", [1], False),
            ("notEqual", "status", ["x"], True),
            ("notEqual", "status", ["x", "active"], False),
            ("notEqual", "status", [], True),
            ("notEqual", "count", [5.0], True),
            ("notEqual", "none", ["x"], True),
            ("lessThan", "count", [6], True),
            ("lessThan", "count", [5], False),
            ("lessThan", "count", [5.5], True),
            ("lessThan", "count", [1, 9], True),
            ("lessThan", "count", [], False),
            ("lessThan", "count", ["6"], True),
            ("lessThan", "count", ["x", None, True, [9]], False),
            ("lessThan", "code", ["9"], False),
            ("lessThan", "code", ["9a"], True),
            ("lessThan", "code", [11], True),
            ("lessThan", "status", ["b"], True),
            ("lessThan", "status", ["9"], False),
            ("lessThan", "status", [9], False),
            ("lessThan", "ok", [9], False),
            ("lessThan", "none", [9], False),
            ("lessThan", "tags", [["x"]], False),
            ("lessThanEqual", "count", [5], True),
            ("lessThanEqual", "count", [4], False),
            ("lessThanEqual", "status", ["active"], True),
            ("greaterThan", "count", [4], True),
            ("greaterThan", "count", [9, 4], True),
            ("greaterThan", "count", [5], False),
            ("greaterThan", "$createdAt", ["2024-04-30T23:59:59.999+00:00"], True),
            ("greaterThan", "$createdAt", ["2024-05-02"], False),
            ("greaterThanEqual", "count", [5.0], True),
            ("greaterThanEqual", "count", [6], False),
            ("greaterThanEqual", "code", ["9"], True),
            ("isNull", "none", [], True),
            ("isNull", "status", [], False),
            ("isNotNull", "none", [], False),
            ("isNotNull", "status", [], True),
            ("contains", "status", ["CTI"], True),
            ("contains", "status", ["zz", "act"], True),
            ("contains", "status", ["zz", 5], False),
            ("contains", "tags", ["red"], True),
            ("contains", "tags", ["re", "RED"], False),
            ("contains", "tags", [7], True),
            ("contains", "tags", [7.0], False),
            ("contains", "count", [5], False),
            ("contains", "none", ["x"], False),
            ("containsAny", "tags", ["x", "green"], True),
            ("containsAll", "tags", ["red", 7], True),
            ("containsAll", "tags", ["red", "x"], False),
            ("containsAll", "status", ["act", "ive"], True),
            ("containsAll", "status", ["act", 1], False),
            ("notContains", "tags", ["x"], True),
            ("notContains", "tags", ["x", "red"], False),
            ("notContains", "count", ["x"], True),
            ("notContains", "none", ["x"], False),
            ("startsWith", "status", ["ACT"], True),
            ("startsWith", "status", ["ive"], False),
            ("startsWith", "status", [5], False),
            ("startsWith", "count", ["5"], False),
            ("notStartsWith", "status", ["ive"], True),
            ("notStartsWith", "status", ["act"], False),
            ("notStartsWith", "none", ["act"], False),
            ("endsWith", "status", ["Ive"], True),
            ("endsWith", "status", ["act"], False),
            ("notEndsWith", "status", ["act"], True),
            ("notEndsWith", "status", ["ive"], False),
            ("between", "count", [5, 6], True),
            ("between", "count", [4, 5], True),
            ("between", "count", [6, 7], False),
            ("between", "count", [1, 4], False),
            ("between", "status", ["a", "b"], True),
            ("between", "none", [0, 9], False),
            ("notBetween", "count", [6, 7], True),
            ("notBetween", "count", [1, 4], True),
            ("notBetween", "count", [5, 6], False),
            ("notBetween", "none", [1, 2], False),
            ("search", "title", ["fox"], True),
            ("search", "title", ["wolf BROWN x"], True),
            ("search", "title", ["wolf qui"], True),
            ("search", "title", ["qui wolf"], False),
            ("search", "title", ["ox"], False),
            ("search", "title", ['"quick brown fox"'], True),
            ("search", "title", ['"quick fox"'], False),
            ("search", "title", ['"quick brow"'], False),
            ("search", "title", ["--"], False),
            ("search", "title", ['"'], False),
            ("search", "title", [5], False),
            ("search", "tags", ["red"], False),
            ("notSearch", "title", ["wolf"], True),
            ("notSearch", "title", ["fox"], False),
        ],
    )
    def test_condition_is_judged(
        self, method: str, attribute: str, values: list[object], expected: bool
    ) -> None:
        assert passes(text(method, attribute, *values)) is expected

    @pytest.mark.parametrize(
        "query",
        [
            text("equal", "absent", None), text("notEqual", "absent", 1), text("isNull", "absent"),
            text("isNotNull", "absent"), text("lessThan", "absent", 1), text("notContains", "absent", "x"),
            text("notBetween", "absent", 1, 2), text("notSearch", "absent", "x"), text("equal", "", ""),
        ],
    )  # fmt: skip
    def test_absent_attribute_fails_every_method(self, query: str) -> None:
        assert not passes(query)


class TestLogic:
    @pytest.mark.parametrize(
        ("queries", "expected"),
        [
            ([TRUE, TRUE], True),
            ([TRUE, FALSE], False),
            ([group("and")], True),
            ([group("or")], False),
            ([group("and", TRUE, TRUE)], True),
            ([group("and", TRUE, FALSE)], False),
            ([group("or", FALSE, TRUE)], True),
            ([group("or", FALSE, FALSE)], False),
            ([group("or", FALSE, group("and", TRUE, group("or", TRUE)))], True),
            ([group("or", text("isNull", "absent"), TRUE)], True),
            ([group("or", text("select", "", "*"))], False),
            ([group("and", text("select", "", "*"))], False),
        ],
    )
    def test_queries_combine(self, queries: list[str], expected: bool) -> None:
        assert passes(*queries) is expected

    @pytest.mark.parametrize("texts", [[], [text("select", "", "*")], [FALSE, text("select", "", "*")]])
    def test_no_queries_or_select_all_pass_everything(self, texts: list[str]) -> None:
        assert compile_filter(texts) is None
        everything = Filter(parse_queries(texts))
        assert everything.accepts_all
        assert everything.matches({})

    def test_select_all_does_not_hide_an_error(self) -> None:
        with pytest.raises(InvalidQueryError):
            compile_filter([text("limit"), text("select", "", "*")])

    def test_deepest_query_compiles_and_matches(self) -> None:
        query = TRUE
        for _ in range(63):
            query = group("or", FALSE, query)
        compiled = compile_filter([query], max_depth=0, max_queries=0)
        assert compiled is not None
        assert compiled.matches(PAYLOAD)

    def test_limits_are_passed_on(self) -> None:
        with pytest.raises(InvalidQueryError, match="At most 1 levels"):
            compile_filter([group("and", group("and", TRUE))], max_depth=1)
        with pytest.raises(InvalidQueryError, match="At most 1 queries"):
            compile_filter([TRUE, TRUE], max_queries=1)


class TestCost:
    @pytest.mark.parametrize(
        ("texts", "cost"),
        [
            ([TRUE], 1),
            ([TRUE, FALSE], 2),
            ([group("or", TRUE, group("and", FALSE, TRUE))], 5),
            ([text("contains", "tags", 1, 2, 3)], 3),
            ([text("equal", "tags", 1, 2, 3)], 1),
        ],
    )
    def test_cost_is_the_least_limit_that_allows_the_queries(self, texts: list[str], cost: int) -> None:
        compiled = compile_filter(texts, max_queries=cost)
        assert compiled is not None
        assert compiled.cost == cost
        if cost > 1:
            with pytest.raises(InvalidQueryError):
                compile_filter(texts, max_queries=cost - 1)


class TestInterning:
    def test_equal_content_is_one_object(self) -> None:
        first = compile_filter(['{"method":"equal","attribute":"interned","values":[1]}'])
        second = compile_filter(['{"values": [1], "attribute": "interned", "method": "equal"}'])
        assert first is not None
        assert first is second

    def test_types_tell_filters_apart(self) -> None:
        filters = [compile_filter([text("equal", "interned", value)]) for value in (1, 1.0, True, "1")]
        assert len(set(filters)) == 4

    def test_order_tells_filters_apart(self) -> None:
        assert compile_filter([TRUE, FALSE]) != compile_filter([FALSE, TRUE])

    def test_filter_goes_with_its_last_holder(self) -> None:
        texts = [text("equal", "interned", "short-lived")]
        held = compile_filter(texts)
        assert held is not None
        key = held.texts
        assert key in _interned
        del held
        gc.collect()
        assert key not in _interned

    def test_filters_compare_and_hash_by_content(self) -> None:
        queries = parse_queries([TRUE])
        first, second = Filter(queries), Filter(queries)
        assert first == second
        assert first is not second
        assert hash(first) == hash(second)
        assert first != Filter(parse_queries([FALSE]))
        assert first != "Filter"

    def test_filter_shows_its_queries(self) -> None:
        compiled = compile_filter([TRUE])
        assert compiled is not None
        assert compiled.queries == (Query("isNotNull", "status"),)
        assert compiled.texts == ('{"method":"isNotNull","attribute":"status","values":[]}',)
        assert not compiled.accepts_all
        assert repr(compiled) == 'Filter({"method":"isNotNull","attribute":"status","values":[]})'


# The oracle: the rules once more, written for the eye only.


def same(left: Any, right: Any) -> bool:
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def ordered(holds: Callable[[Any, Any], bool], left: Any, right: Any) -> bool:
    def number(value: Any) -> float | None:
        if isinstance(value, bool):
            return None
        if isinstance(value, int | float):
            return value
        if isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value):
            return float(value)
        return None

    numbers = number(left), number(right)
    if None not in numbers:
        return holds(*numbers)
    if isinstance(left, str) and isinstance(right, str):
        return holds(left.encode(), right.encode())
    return False


ORDERINGS = {
    "lessThan": operator.lt,
    "lessThanEqual": operator.le,
    "greaterThan": operator.gt,
    "greaterThanEqual": operator.ge,
}


def judge(query: dict[str, Any], payload: dict[str, Any]) -> bool:
    method, attribute, values = query["method"], query["attribute"], query["values"]
    if method in {"and", "or"}:
        results = [judge(child, payload) for child in values]
        return all(results) if method == "and" else any(results)
    if attribute not in payload:
        return False
    value = payload[attribute]
    equal = any(same(value, each) for each in values)
    verdicts: dict[str, Callable[[], bool]] = {
        "equal": lambda: equal,
        "notEqual": lambda: not equal,
        "isNull": lambda: value is None,
        "isNotNull": lambda: value is not None,
        "between": lambda: ordered(operator.ge, value, values[0]) and ordered(operator.le, value, values[1]),
        "select": lambda: False,
    }
    for name, holds in ORDERINGS.items():
        verdicts[name] = lambda holds=holds: any(ordered(holds, value, each) for each in values)  # type: ignore[misc]
    return verdicts[method]()


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 12)
    | st.sampled_from([0.0, 1.0, 2.5, -1.5])
    | st.sampled_from(["", "a", "b", "B", "é", "\U0001f600", "\uffff", "1", "2", "10", "2.5", "-1", "1a"])
)
json_values = (
    scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.sampled_from("xy"), scalars, max_size=2)
)
attributes = st.sampled_from(["a", "b", "$id", "absent"])
conditions = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["equal", "notEqual", "isNull", "isNotNull", *ORDERINGS]),
        "attribute": attributes,
        "values": st.lists(json_values, max_size=3),
    }
) | st.fixed_dictionaries(
    {
        "method": st.just("between"),
        "attribute": attributes,
        "values": st.lists(json_values, min_size=2, max_size=2),
    }
)
query_trees = st.recursive(
    conditions | st.just({"method": "select", "attribute": "", "values": ["*"]}),
    lambda inner: st.fixed_dictionaries(
        {
            "method": st.sampled_from(["and", "or"]),
            "attribute": st.just(""),
            "values": st.lists(inner, max_size=3),
        }
    ),
    max_leaves=5,
)
payloads = st.dictionaries(st.sampled_from(["a", "b", "$id"]), json_values)


class TestOracle:
    @settings(max_examples=400)
    @given(st.lists(query_trees, max_size=3), payloads)
    def test_matching_agrees_with_the_rules(
        self, queries: list[dict[str, Any]], payload: dict[str, Any]
    ) -> None:
        compiled = compile_filter([json.dumps(query) for query in queries])
        if compiled is None:
            assert not queries or any(query["method"] == "select" for query in queries)
        else:
            assert compiled.matches(payload) is all(judge(query, payload) for query in queries)

    @settings(max_examples=100)
    @given(st.sampled_from(["contains", "startsWith", "endsWith", "search"]), json_values, json_values)
    def test_not_forms_are_opposites_except_for_null(self, method: str, wanted: Any, value: Any) -> None:
        payload = {"a": value}
        opposite = f"not{method[0].upper()}{method[1:]}"
        positive = passes(text(method, "a", wanted), payload=payload)
        assert passes(text(opposite, "a", wanted), payload=payload) is (value is not None and not positive)
