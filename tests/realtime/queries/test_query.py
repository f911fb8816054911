"""Parsing and serialising queries: wire specification 6.1, 6.2, 3.4 and 16.10."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.errors import InvalidQueryError
from realtime.queries import ALLOWED_METHODS, Query, parse_queries, serialize
from realtime.queries.query import MAX_JSON_DEPTH, UNSUPPORTED_METHODS

ALLOWED = (
    "equal, notEqual, lessThan, lessThanEqual, greaterThan, greaterThanEqual, isNull, isNotNull, and, or, "
    "select, contains, notContains, containsAny, containsAll, startsWith, notStartsWith, endsWith, "
    "notEndsWith, between, notBetween, search, notSearch"
)
SELECT_ERROR = 'Only select("*") is allowed in Realtime queries. select("*") means "listen to all events".'

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
methods = st.sampled_from([*ALLOWED_METHODS, *sorted(UNSUPPORTED_METHODS), "", "nope"])


def query_like(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with the members of a query, right or wrong."""
    return st.fixed_dictionaries(
        {"method": methods | json_values},
        optional={"attribute": st.text(max_size=5) | json_values, "values": values | json_values},
    )


almost_queries = st.recursive(
    query_like(st.lists(json_values, max_size=3)),
    lambda inner: st.fixed_dictionaries(
        {"method": st.sampled_from(["and", "or"]), "values": st.lists(inner | json_values, max_size=3)}
    ),
    max_leaves=6,
)


def text(method: object, attribute: object = "a", values: object = ()) -> str:
    return json.dumps({"method": method, "attribute": attribute, "values": values})


def nested(levels: int) -> str:
    """A condition inside that many "and"s."""
    query = text("isNull")
    for _ in range(levels):
        query = f'{{"method":"and","values":[{query}]}}'
    return query


def error_of(*texts: object, **limits: int) -> str:
    with pytest.raises(InvalidQueryError) as caught:
        parse_queries(texts, **limits)
    return str(caught.value)


class TestParse:
    def test_full_query_has_its_members(self) -> None:
        assert parse_queries(['{"method":"equal","attribute":"status","values":["active",1,null]}']) == (
            Query("equal", "status", ("active", 1, None)),
        )

    @pytest.mark.parametrize(
        "query",
        ['{"method":"and"}', '{"method":"and","attribute":null,"values":null}', '{"method":"and","x":1}'],
    )
    def test_missing_or_null_members_take_defaults(self, query: str) -> None:
        assert parse_queries([query]) == (Query("and", "", ()),)

    def test_values_given_as_an_object_lose_their_keys(self) -> None:
        assert parse_queries([text("equal", "a", {"x": 1, "y": 2})]) == (Query("equal", "a", (1, 2)),)

    def test_nested_queries_are_objects(self) -> None:
        query = '{"method":"or","values":[{"method":"isNull","attribute":"a"},{"method":"and"}]}'
        assert parse_queries([query]) == (Query("or", "", (Query("isNull", "a"), Query("and"))),)

    @pytest.mark.parametrize("method", ALLOWED_METHODS)
    def test_allowed_method_parses(self, method: str) -> None:
        special: dict[str, list[object]] = {"select": ["*"], "and": [], "or": []}
        special |= {"between": [1, 2], "notBetween": [1, 2]}
        values = special.get(method, ["x"])
        assert parse_queries([text(method, "a", values)])[0].method == method

    def test_order_is_kept(self) -> None:
        queries = parse_queries([text("isNull", "a"), text("isNull", "b")])
        assert [query.attribute for query in queries] == ["a", "b"]


class TestErrors:
    """A row for each condition of wire specification 6.2."""

    @pytest.mark.parametrize(
        ("query", "message"),
        [
            # not JSON
            ("", "Invalid query: Syntax error"),
            ("status=active", "Invalid query: Syntax error"),
            ('{"method":', "Invalid query: Syntax error"),
            ("NaN", "Invalid query: Syntax error"),
            ("1e999", "Invalid query: Syntax error"),
            ("9" * 5000, "Invalid query: Syntax error"),
            ('"\\ud800"', "Invalid query: Syntax error"),
            ('"\ud800"', "Invalid query: Syntax error"),
            ("[" * 100_000, "Invalid query: Syntax error"),
            # JSON but neither object nor array
            ('"equal"', "Invalid query. Must be an array, got string"),
            ("5", "Invalid query. Must be an array, got integer"),
            ("5.0", "Invalid query. Must be an array, got double"),
            (str(2**70), "Invalid query. Must be an array, got double"),
            ("true", "Invalid query. Must be an array, got boolean"),
            ("null", "Invalid query. Must be an array, got NULL"),
            ('{"method":"and","values":["x"]}', "Invalid query. Must be an array, got string"),
            ('{"method":"or","values":[null]}', "Invalid query. Must be an array, got NULL"),
            # method not a string
            (text(1), "Invalid query method. Must be a string, got integer"),
            (text(1.5), "Invalid query method. Must be a string, got double"),
            (text(False), "Invalid query method. Must be a string, got boolean"),
            (text([]), "Invalid query method. Must be a string, got array"),
            (text({}), "Invalid query method. Must be a string, got array"),
            # method not known at all
            (text("near"), "Invalid query method: near"),
            (text("EQUAL"), "Invalid query method: EQUAL"),
            ("{}", "Invalid query method: "),
            ("[]", "Invalid query method: "),
            ('["equal","status",["active"]]', "Invalid query method: "),
            # attribute not a string
            (text("equal", 7), "Invalid query attribute. Must be a string, got integer"),
            (text("equal", ["a"]), "Invalid query attribute. Must be a string, got array"),
            (text("limit", True), "Invalid query attribute. Must be a string, got boolean"),
            # values not a list
            (text("equal", "a", "active"), "Invalid query values. Must be an array, got string"),
            (text("equal", "a", 1), "Invalid query values. Must be an array, got integer"),
            (text("equal", "a", False), "Invalid query values. Must be an array, got boolean"),
            # select with anything but exactly ["*"]
            (text("select", "", []), SELECT_ERROR),
            (text("select", "", ["name"]), SELECT_ERROR),
            (text("select", "", ["*", "*"]), SELECT_ERROR),
            (text("select", "", [["*"]]), SELECT_ERROR),
            ('{"method":"or","values":[{"method":"select"}]}', SELECT_ERROR),
        ],
    )
    def test_bad_query_is_refused_with_its_text(self, query: str, message: str) -> None:
        assert error_of(query) == message

    @pytest.mark.parametrize("method", sorted(UNSUPPORTED_METHODS))
    def test_list_method_is_refused_by_name(self, method: str) -> None:
        message = f"Query method '{method}' is not supported in Realtime queries. Allowed: {ALLOWED}"
        query = text(method, "a", [25])
        assert error_of(query) == message
        assert error_of(f'{{"method":"or","values":[{query}]}}') == message

    @pytest.mark.parametrize(
        ("value", "name"),
        [(5, "integer"), (["x"], "array"), ({"method": "and"}, "array"), (None, "NULL"), (b"{}", "object")],
    )
    def test_query_that_is_no_string_is_refused(self, value: object, name: str) -> None:
        assert error_of(value) == f"Invalid query. Must be a string, got {name}"

    @pytest.mark.parametrize(
        ("method", "values", "message"),
        [
            ("startsWith", [], "StartsWith queries require exactly one value."),
            ("notEndsWith", ["a", "b"], "NotEndsWith queries require exactly one value."),
            ("search", ["a", "b"], "Search queries require exactly one value."),
            ("between", [1], "Between queries require exactly two values."),
            ("notBetween", [1, 2, 3], "NotBetween queries require exactly two values."),
            ("contains", [], "Contains queries require at least one value."),
            ("containsAll", [], "ContainsAll queries require at least one value."),
        ],
    )
    def test_added_method_with_wrong_number_of_values_is_refused(
        self, method: str, values: list[object], message: str
    ) -> None:
        assert error_of(text(method, "a", values)) == message


class TestOrderOfChecks:
    def test_last_unsupported_query_is_named(self) -> None:
        assert "'offset'" in error_of(text("limit"), text("offset"))

    def test_nested_query_is_checked_before_earlier_siblings(self) -> None:
        group = '{"method":"and","values":[' + text("orderAsc") + "," + text("orderDesc") + "]}"
        assert "'orderDesc'" in error_of(text("limit"), group)
        assert "'offset'" in error_of(text("limit"), group, text("offset"))

    def test_every_text_is_parsed_before_methods_are_checked(self) -> None:
        assert error_of("?", text("limit")) == "Invalid query: Syntax error"
        assert error_of(text("limit"), text("nope"), "?") == "Invalid query method: nope"


class TestLimits:
    def test_nesting_at_the_limit_passes(self) -> None:
        assert parse_queries([nested(10)])
        assert parse_queries([nested(3)], max_depth=3)

    def test_nesting_above_the_limit_is_refused(self) -> None:
        assert error_of(nested(11)) == "Invalid query. At most 10 levels of nesting are allowed."
        assert error_of(nested(4), max_depth=3) == "Invalid query. At most 3 levels of nesting are allowed."

    def test_zero_depth_leaves_the_built_in_bound(self) -> None:
        assert parse_queries([nested(MAX_JSON_DEPTH // 2 - 1)], max_depth=0)
        assert (
            error_of(nested(MAX_JSON_DEPTH // 2), max_depth=0)
            == "Invalid query: Maximum stack depth exceeded"
        )
        assert error_of(nested(20_000), max_depth=0) == "Invalid query: Syntax error"

    def test_values_nested_above_the_built_in_bound_are_refused(self) -> None:
        def with_lists(levels: int) -> str:
            return f'{{"method":"equal","values":[{"[" * levels}{"]" * levels}]}}'

        assert parse_queries([with_lists(MAX_JSON_DEPTH - 2)])
        for levels in (MAX_JSON_DEPTH, 900):
            assert error_of(with_lists(levels)) == "Invalid query: Maximum stack depth exceeded"
            members = '{"a":' * levels + "1" + "}" * levels
            assert error_of(text("equal").replace("[]", f"[{members}]")).endswith("stack depth exceeded")

    def test_queries_above_the_limit_are_refused(self) -> None:
        assert len(parse_queries([text("isNull")] * 100)) == 100
        message = "Invalid query. At most 100 queries are allowed, nested ones included."
        assert error_of(*[text("isNull")] * 101) == message
        assert len(parse_queries([text("isNull")] * 101, max_queries=0)) == 101

    def test_nested_queries_count(self) -> None:
        group = f'{{"method":"or","values":[{text("isNull")},{text("isNull")}]}}'
        assert parse_queries([group], max_queries=3)
        assert error_of(group, max_queries=2) == (
            "Invalid query. At most 2 queries are allowed, nested ones included."
        )

    def test_each_value_of_contains_counts(self) -> None:
        query = text("contains", "a", ["x", "y", "z"])
        assert parse_queries([query], max_queries=3)
        assert "At most 2" in error_of(query, max_queries=2)
        assert parse_queries([text("equal", "a", ["x", "y", "z"])], max_queries=1)


class TestSerialize:
    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            (
                '{ "values" : ["é/", 1, 1.0, true, null], "attribute":"a", "method":"equal", "more":1 }',
                '{"method":"equal","attribute":"a","values":["é/",1,1.0,true,null]}',
            ),
            ('{"method":"isNull","attribute":"a"}', '{"method":"isNull","attribute":"a","values":[]}'),
            ('{"method":"select","values":["*"]}', '{"method":"select","values":["*"]}'),
            (
                '{"method":"or","attribute":"","values":[{"method":"and"},{"method":"isNull"}]}',
                '{"method":"or","values":[{"method":"and","values":[]},{"method":"isNull","values":[]}]}',
            ),
            (
                '{"method":"equal","values":[{"b":[],"a":{}}]}',
                '{"method":"equal","values":[{"b":[],"a":{}}]}',
            ),
        ],
    )
    def test_query_is_written_compactly_in_order(self, query: str, expected: str) -> None:
        assert serialize(parse_queries([query])[0]) == expected


class TestProperties:
    @settings(max_examples=200)
    @given(st.lists(almost_queries.map(json.dumps) | json_values.map(json.dumps) | st.text(), max_size=3))
    def test_any_text_parses_or_raises_and_round_trips(self, texts: list[str]) -> None:
        try:
            queries = parse_queries(texts)
        except InvalidQueryError:
            return
        written = [serialize(query) for query in queries]
        again = parse_queries(written)
        assert again == queries
        assert [serialize(query) for query in again] == written

    @settings(max_examples=100)
    @given(st.lists(json_values | st.binary(max_size=4), max_size=3))
    def test_any_object_parses_or_raises(self, items: list[object]) -> None:
        with contextlib.suppress(InvalidQueryError):
            parse_queries(items)
