"""The grammar of lists' queries: what is understood, what is refused, and in which words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import InvalidQueryError
from realtime.queries import Query
from realtime.queries.query import ALLOWED_METHODS, UNSUPPORTED_METHODS
from workers.store.queries import Cursor, ListQuery, Order, parse_list

ATTRIBUTES = {"name", "$id"}


def text(method: str, attribute: str = "", *values: object) -> str:
    return json.dumps({"method": method, "attribute": attribute, "values": values})


def refusal(*texts: object) -> str:
    with pytest.raises(InvalidQueryError) as caught:
        parse_list(texts, attributes=ATTRIBUTES)
    return str(caught.value)


class TestParseList:
    def test_no_queries_ask_for_the_first_25(self) -> None:
        assert parse_list([]) == ListQuery(limit=25)

    def test_every_part_has_its_place(self) -> None:
        parsed = parse_list([
            text("equal", "name", "Ada"),
            text("limit", "", 3),
            text("orderDesc", "name"),
            text("offset", "", 4),
            text("isNull", "$id"),
            text("orderAsc", ""),
            text("cursorBefore", "", "r1"),
            text("select", "", "name", "author.*"),
            text("select", "", "$id"),
        ])  # fmt: skip
        assert parsed == ListQuery(
            filters=(Query("equal", "name", ("Ada",)), Query("isNull", "$id")),
            orders=(Order("name", descending=True), Order("")),
            limit=3,
            offset=4,
            cursor=Cursor("r1", before=True),
            select=("name", "author.*", "$id"),
        )

    def test_members_that_the_sdk_leaves_out_have_defaults(self) -> None:
        assert parse_list(['{"method":"orderAsc","attribute":"name"}']).orders == (Order("name"),)

    def test_of_several_limits_offsets_or_cursors_the_first_counts(self) -> None:
        parsed = parse_list([
            text("limit", "", 1), text("limit", "", 2), text("offset", "", 3), text("offset", "", 4),
            text("cursorAfter", "", "a"), text("cursorBefore", "", "b"),
        ])  # fmt: skip
        assert (parsed.limit, parsed.offset, parsed.cursor) == (1, 3, Cursor("a"))

    def test_a_random_order_is_one_of_its_own(self) -> None:
        assert parse_list([text("orderRandom")]).random

    def test_nested_filters_are_kept_whole(self) -> None:
        nested = json.dumps({
            "method": "or",
            "values": [
                {"method": "isNull", "attribute": "name"},
                {"method": "and", "values": [{"method": "equal", "attribute": "name", "values": ["Ada"]}]},
            ],
        })  # fmt: skip
        (query,) = parse_list([nested], attributes=ATTRIBUTES).filters
        assert query == Query(
            "or",
            values=(Query("isNull", "name"), Query("and", values=(Query("equal", "name", ("Ada",)),))),
        )

    def test_select_may_name_what_begins_with_a_dollar_and_parts_of_attributes(self) -> None:
        names = ("*", "name", "name.*", "$permissions")
        assert parse_list([text("select", "", *names)], attributes=ATTRIBUTES).select == names

    def test_the_sequence_orders_whatever_the_attributes_are(self) -> None:
        assert parse_list([text("orderAsc", "$sequence")], attributes=()).orders == (Order("$sequence"),)


class TestRefusals:
    @pytest.mark.parametrize(
        "query",
        [
            text("equal", "secret", 1), text("orderAsc", "secret"), text("select", "", "secret"),
            text("select", "", "secret.name"),
            json.dumps({"method": "or", "values": [{"method": "isNull", "attribute": "secret"}]}),
        ],
    )  # fmt: skip
    def test_an_unknown_attribute_is_named(self, query: str) -> None:
        assert refusal(query) == "Invalid query: Attribute not found in schema: secret"

    @pytest.mark.parametrize("method", sorted(UNSUPPORTED_METHODS - {
        "orderAsc", "orderDesc", "orderRandom", "limit", "offset", "cursorAfter", "cursorBefore",
    }))  # fmt: skip
    def test_methods_that_no_list_has_are_named(self, method: str) -> None:
        assert (
            refusal(text(method, "name", 1))
            == f"Invalid query: Query method '{method}' is not supported here."
        )

    @pytest.mark.parametrize(
        ("value", "method", "bounds"),
        [
            (0, "limit", "1 and 5,000"),
            (5001, "limit", "1 and 5,000"),
            (-1, "offset", "0 and 9,007,199,254,740,992"),
        ],
    )
    def test_numbers_out_of_range_are_told_the_range(self, value: int, method: str, bounds: str) -> None:
        assert refusal(text(method, "", value)) == (
            f"Invalid query: Invalid {method}: Value must be a valid range between {bounds}"
        )

    @pytest.mark.parametrize("values", [[], ["5"], [True], [1.0], [None], [[1]], [1, 2]])
    def test_a_limit_is_one_integer(self, values: list[object]) -> None:
        assert "Invalid limit" in refusal(text("limit", "", *values))

    @pytest.mark.parametrize("values", [[], [""], [5], ["a", "b"], [{}]])
    def test_a_cursor_is_one_id(self, values: list[object]) -> None:
        assert (
            refusal(text("cursorAfter", "", *values)) == "Invalid query: Invalid cursor: Value must be an ID."
        )

    def test_a_cursor_has_no_place_in_a_random_order(self) -> None:
        assert "random order" in refusal(text("orderRandom"), text("cursorAfter", "", "a"))

    @pytest.mark.parametrize("values", [[], [1], [""], ["name"] * 101])
    def test_select_takes_names(self, values: list[object]) -> None:
        assert refusal(text("select", "", *values)).startswith("Invalid query: Select queries require")

    @pytest.mark.parametrize(
        ("query", "reason"),
        [
            (text("lessThan", "name"), "LessThan queries require exactly one value."),
            (text("greaterThanEqual", "name", 1, 2), "GreaterThanEqual queries require exactly one value."),
            (text("equal", "name"), "Equal queries require at least one value."),
            (text("notEqual", "name"), "NotEqual queries require at least one value."),
            (text("between", "name", 1), "Between queries require exactly two values."),
            (text("contains", "name"), "Contains queries require at least one value."),
            (text("startsWith", "name", "a", "b"), "StartsWith queries require exactly one value."),
            (text("isNull"), "IsNull queries require an attribute."),
            (text("or"), "Or queries require at least one query."),
            (text("equal", "name", *range(101)), "Equal queries may have at most 100 values."),
        ],
    )  # fmt: skip
    def test_a_wrong_number_of_values_is_told(self, query: str, reason: str) -> None:
        assert refusal(query) == f"Invalid query: {reason}"

    def test_orders_and_limits_are_not_nested(self) -> None:
        nested = json.dumps({"method": "and", "values": [{"method": "limit", "values": [1]}]})
        assert refusal(nested) == "Invalid query: Query method 'limit' is not supported here."

    def test_size_number_and_depth_are_bounded(self) -> None:
        assert "4096 characters" in refusal(text("equal", "name", "x" * 4096))
        assert "100 queries" in refusal(*[text("isNull", "name")] * 101)
        assert "100 queries" in refusal(
            text("contains", "name", *range(60)), text("contains", "name", *range(60))
        )
        deep: dict[str, object] = {"method": "isNull", "attribute": "name"}
        for _ in range(7):
            deep = {"method": "and", "values": [deep]}
        assert "levels of nesting" in refusal(json.dumps(deep))

    @given(
        st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "method": st.sampled_from([*ALLOWED_METHODS, *sorted(UNSUPPORTED_METHODS), "no", 5]),
                    "attribute": st.sampled_from(["name", "", "secret", None, 7]),
                    "values": st.none() | st.lists(st.none() | st.integers() | st.text() | st.just({})),
                },
            ).map(json.dumps)
            | st.text()
            | st.integers(),
            max_size=4,
        )
    )
    def test_whatever_is_sent_it_is_parsed_or_refused(self, texts: list[object]) -> None:
        try:
            parsed = parse_list(texts, attributes=ATTRIBUTES)
        except InvalidQueryError as error:
            assert str(error).startswith("Invalid query")  # noqa: PT017 - the other outcome is as good
        else:
            assert 1 <= parsed.limit <= 5000
