"""Values of rows: what a column takes, and how it is stored."""

import ipaddress
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.store.schema import Column, ColumnType, StringFormat
from workers.store.times import to_text, to_unix
from workers.store.values import INTEGER_MAX, INTEGER_MIN, check_value, max_chars

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=12,
)
TYPES: tuple[ColumnType, ...] = (
    "string", "varchar", "text", "integer", "bigint", "double", "boolean", "datetime", "point", "linestring",
    "polygon", "relationship",
)  # fmt: skip
FORMATS: tuple[StringFormat, ...] = ("email", "enum", "url", "ip")


def column(column_type: ColumnType, **members: Any) -> Column:
    return Column(number=1, key="it", type=column_type, created_at="", updated_at="", **members)


def text_column(string_format: StringFormat = "", **members: Any) -> Column:
    return column("string", size=100, format=string_format, **members)


def reason(of: Column, value: object) -> str:
    """Return why the column does not take the value."""
    with pytest.raises(ValueError, match='"it') as caught:
        check_value(of, value)
    return str(caught.value)


class TestAnyColumn:
    @given(st.sampled_from(TYPES), st.booleans(), st.booleans(), JSON)
    def test_whatever_json_is_stored_or_refused_with_a_text(
        self, column_type: ColumnType, array: bool, required: bool, value: Any
    ) -> None:
        checked = column(column_type, size=20, array=array, required=required)
        try:
            stored = check_value(checked, value)
        except ValueError:
            reason(checked, value)
        else:
            # What is stored is a value of the column, and stays as it is from then on.
            assert check_value(checked, stored) == stored

    @given(st.sampled_from(FORMATS), st.text() | JSON)
    def test_whatever_text_is_of_a_format_or_refused(self, string_format: StringFormat, value: Any) -> None:
        checked = text_column(string_format, elements=("a", "b"))
        try:
            stored = check_value(checked, value)
        except ValueError:
            reason(checked, value)
        else:
            assert stored == value

    @pytest.mark.parametrize("column_type", TYPES)
    def test_null_is_taken_unless_the_column_is_required(self, column_type: ColumnType) -> None:
        assert check_value(column(column_type), None) is None
        assert reason(column(column_type, required=True), None) == 'Missing required attribute "it"'


class TestArrays:
    def test_elements_are_checked_one_by_one(self) -> None:
        assert check_value(column("integer", array=True), [1, 2]) == [1, 2]
        assert reason(column("integer", array=True), [1, "2"]).startswith("Attribute \"it['1']\"")

    def test_elements_are_stored_like_values(self) -> None:
        assert check_value(column("double", array=True), [1]) == [1.0]
        assert check_value(column("datetime", array=True), ["2026-01-02"]) == [
            "2026-01-02T00:00:00.000+00:00"
        ]

    def test_nulls_are_taken_unless_the_column_is_required(self) -> None:
        assert check_value(column("integer", array=True), [None]) == [None]
        reason(column("integer", array=True, required=True), [None])

    @pytest.mark.parametrize("value", ["a", {"0": "a"}, 1])
    def test_anything_else_is_refused(self, value: object) -> None:
        assert "array" in reason(text_column(array=True), value)

    def test_list_is_no_value_of_a_column_without(self) -> None:
        reason(text_column(), ["a"])


class TestTexts:
    @given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10))
    def test_text_is_stored_as_it_is(self, value: str) -> None:
        assert check_value(column("string", size=10), value) == value

    def test_length_is_counted_in_characters(self) -> None:
        assert check_value(column("string", size=3), "🙂🙂🙂") == "🙂🙂🙂"
        assert "no longer than 3 chars" in reason(column("string", size=3), "abcd")

    @pytest.mark.parametrize("value", ["a\0b", "a\ud800"])
    def test_what_databases_cannot_store_is_refused(self, value: str) -> None:
        reason(text_column(), value)

    @pytest.mark.parametrize("value", [1, True, {}, 1.5])
    def test_other_types_are_refused(self, value: object) -> None:
        assert "valid string" in reason(text_column(), value)

    def test_types_without_a_size_have_their_own(self) -> None:
        assert max_chars(column("text")) == 16_383
        assert check_value(column("text"), "x" * 16_383)
        reason(column("text"), "x" * 16_384)
        assert check_value(column("mediumtext"), "x" * 16_384)

    def test_numbers_have_no_length(self) -> None:
        assert max_chars(column("integer")) == 0


class TestFormats:
    @pytest.mark.parametrize("value", ["ada@example.com", "a.b+c@sub.example.org", "ada@example.test"])
    def test_email_address_is_taken(self, value: str) -> None:
        assert check_value(text_column("email"), value) == value

    @pytest.mark.parametrize(
        "value", ["ada", "ada@", "@example.com", "a b@example.com", "", "ada@example..com"]
    )
    def test_no_email_address_is_refused(self, value: str) -> None:
        assert "valid email address" in reason(text_column("email"), value)

    @pytest.mark.parametrize(
        "value",
        ["https://example.com", "http://localhost:8080/a?b=c#d", "ftp://user@example.com/x", "http://[::1]/"],
    )
    def test_url_is_taken(self, value: str) -> None:
        assert check_value(text_column("url"), value) == value

    @pytest.mark.parametrize(
        "value",
        [
            "example.com",
            "https://",
            "//example.com",
            "http://a b.com",
            "http://[::1",
            "http://a:99999",
            "1://a",
            "",
        ],
    )
    def test_no_url_is_refused(self, value: str) -> None:
        assert "valid URL" in reason(text_column("url"), value)

    @given(st.ip_addresses())
    def test_ip_address_is_taken(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
        assert check_value(text_column("ip"), str(address)) == str(address)

    @pytest.mark.parametrize("value", ["1.2.3", "1.2.3.256", "fe80::1%eth0", "", "::g"])
    def test_no_ip_address_is_refused(self, value: str) -> None:
        assert "valid IP address" in reason(text_column("ip"), value)

    def test_element_is_taken_and_nothing_else(self) -> None:
        checked = text_column("enum", elements=("red", "blue"))
        assert check_value(checked, "blue") == "blue"
        assert "one of (red, blue)" in reason(checked, "Blue")


class TestNumbers:
    @given(st.integers())
    def test_whole_number_is_taken_if_it_has_64_bits(self, value: int) -> None:
        if INTEGER_MIN <= value <= INTEGER_MAX:
            assert check_value(column("integer"), value) == value
        else:
            reason(column("bigint"), value)

    @given(st.integers(-5, 5), st.integers(-5, 5) | st.none(), st.integers(-5, 5) | st.none())
    def test_range_includes_its_ends(self, value: int, low: int | None, high: int | None) -> None:
        checked = column("integer", min=low, max=high)
        if (low is None or value >= low) and (high is None or value <= high):
            assert check_value(checked, value) == value
        else:
            assert "range" in reason(checked, value)

    @pytest.mark.parametrize("value", [True, 1.0, "1", [1]])
    def test_other_types_are_no_whole_numbers(self, value: object) -> None:
        assert "valid integer" in reason(column("integer"), value)

    @given(st.floats() | st.integers())
    def test_float_is_taken_if_it_is_finite(self, value: float) -> None:
        try:
            is_finite = math.isfinite(float(value))
        except OverflowError:
            is_finite = False
        if is_finite:
            stored = check_value(column("double"), value)
            assert isinstance(stored, float)
            assert stored == float(value)
        else:
            reason(column("double"), value)

    @pytest.mark.parametrize("value", [True, "1.5", None])
    def test_other_types_are_no_floats(self, value: object) -> None:
        reason(column("double", required=True), value)

    @pytest.mark.parametrize("value", [0, 1, "true"])
    def test_only_booleans_are_booleans(self, value: object) -> None:
        assert check_value(column("boolean"), False) is False
        reason(column("boolean"), value)


class TestDatetimes:
    @given(
        st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)),  # noqa: DTZ001 - zones come below
        st.integers(-14 * 60, 14 * 60),
    )
    def test_time_is_stored_in_utc(self, moment: datetime, offset_min: int) -> None:
        aware = moment.replace(tzinfo=timezone(timedelta(minutes=offset_min)))
        stored = check_value(column("datetime"), aware.isoformat())
        assert stored == to_text(aware)
        assert len(stored) == 29

    def test_time_without_an_offset_is_in_utc(self) -> None:
        stored = check_value(column("datetime"), "2026-01-02 03:04:05")
        assert to_unix(stored) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()

    @pytest.mark.parametrize(
        "value", ["", "today", "2026-02-30", 1767322800, "0001-01-01T00:00:00+10:00", "12026-01-01T00:00:00Z"]
    )
    def test_anything_else_is_refused(self, value: object) -> None:
        assert "valid date" in reason(column("datetime"), value)


class TestShapes:
    @pytest.mark.parametrize(
        ("column_type", "value"),
        [
            ("point", [13.4, 52.5]),
            ("point", [-180, 90]),
            ("linestring", [[0, 0], [1, 1.5]]),
            ("polygon", [[[0, 0], [1, 0], [1, 1], [0, 0]]]),
        ],
    )
    def test_shape_is_stored_as_it_is(self, column_type: ColumnType, value: object) -> None:
        assert check_value(column(column_type), value) == value

    @pytest.mark.parametrize(
        ("column_type", "value"),
        [
            ("point", [181, 0]),
            ("point", [0, 91]),
            ("point", [0]),
            ("point", [0, True]),
            ("point", [0, math.nan]),
            ("point", {"x": 0, "y": 0}),
            ("linestring", [[0, 0]]),
            ("linestring", [[0, 0], "1,1"]),
            ("polygon", []),
            ("polygon", [[[0, 0], [1, 0], [0, 0]]]),
            ("polygon", [[[0, 0], [1, 0], [1, 1], [0, 1]]]),
        ],
    )
    def test_anything_else_is_refused(self, column_type: ColumnType, value: object) -> None:
        reason(column(column_type), value)


class TestRelationships:
    def test_id_of_a_row_is_taken(self) -> None:
        assert check_value(column("relationship"), "row-1") == "row-1"
        assert check_value(column("relationship", array=True), ["a", "b"]) == ["a", "b"]

    @pytest.mark.parametrize("value", ["", "-a", "a" * 37, {"$id": "a"}, 1])
    def test_anything_else_is_refused(self, value: object) -> None:
        assert "ID of a row" in reason(column("relationship"), value)
