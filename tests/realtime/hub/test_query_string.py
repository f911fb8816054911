"""PHP-style query strings (wire specification 2.1)."""

from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.errors import ClientError, ErrorKind
from realtime.hub.query_string import parse_query_string

NAMES = st.sampled_from(["a", "b", "ch"])
KEYS = st.sampled_from(["", "", "0", "1", "7", "10", "k", "x y", "00"])
PAIRS = st.lists(st.tuples(NAMES, st.lists(KEYS, max_size=3), st.text(max_size=4)), max_size=8)


def naive(pairs: list[tuple[str, list[str], str]]) -> dict[str, Any]:
    """Assign each value in turn, as one would by hand."""
    result: dict[Any, Any] = {}
    for name, keys, value in pairs:
        node = result
        last: int | str = name
        for key in keys:
            if not isinstance(node.get(last), dict):
                node[last] = {}
            node = node[last]
            if key == "":
                last = max((k for k in node if isinstance(k, int)), default=-1) + 1
            else:
                last = int(key) if key in {"0", "1", "7", "10"} else key
        node[last] = value
    return result


def write(pairs: list[tuple[str, list[str], str]], *, is_encoded: bool) -> str:
    encode = quote if is_encoded else lambda text: text.replace(" ", "+")
    return "&".join(
        encode(name + "".join(f"[{key}]" for key in keys)) + "=" + quote_plus(value)
        for name, keys, value in pairs
    )


def limit_text(text: str, **limits: int) -> str:
    with pytest.raises(ClientError) as caught:
        parse_query_string(text, **limits)
    assert caught.value.kind is ErrorKind.URL_LIMIT
    return str(caught.value)


class TestParseQueryString:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", {}),
            ("&&", {}),
            ("a=1&b=2", {"a": "1", "b": "2"}),
            ("a", {"a": ""}),
            ("a=", {"a": ""}),
            ("=1", {}),
            ("[]=1", {}),
            ("%20=1", {}),
            ("a=1=2", {"a": "1=2"}),
            ("a=1&a=2", {"a": "2"}),
            ("a=%C3%A9+%2B", {"a": "é +"}),
            ("a=é", {"a": "é"}),
            ("a=%zz%", {"a": "%zz%"}),
            ("a=%ff", {"a": "\ufffd"}),
            ("a=\ud800", {"a": "?"}),
            # Lists, maps and both in each other.
            ("a[]=1&a[]=2", {"a": {0: "1", 1: "2"}}),
            ("a[0]=1&a[1]=2", {"a": {0: "1", 1: "2"}}),
            ("a[k]=1", {"a": {"k": "1"}}),
            ("a%5B%5D=1&a%5b0%5d=2&a%5Bk%5D=3", {"a": {0: "2", "k": "3"}}),
            ("a[0][]=x&a[0][]=y", {"a": {0: {0: "x", 1: "y"}}}),
            ("a[0][]=x&a[1][]=y", {"a": {0: {0: "x"}, 1: {0: "y"}}}),
            ("a[][]=x&a[][]=y", {"a": {0: {0: "x"}, 1: {0: "y"}}}),
            ("a[5]=x&a[]=y&a[2]=z&a[]=w", {"a": {5: "x", 6: "y", 2: "z", 7: "w"}}),
            # Integer keys are those that are written as integers.
            (
                "a[00]=1&a[-0]=2&a[-7]=3&a[+1]=4&a[1.0]=5",
                {"a": {"00": "1", "-0": "2", -7: "3", " 1": "4", "1.0": "5"}},
            ),
            ("a[٣]=1", {"a": {"٣": "1"}}),
            ("a[9999999999999999999]=1", {"a": {"9999999999999999999": "1"}}),
            # Names before the first bracket.
            ("a.b c=1", {"a_b_c": "1"}),
            ("a+b%2Ec=1", {"a_b_c": "1"}),
            ("++a=1", {"a": "1"}),
            ("a.b[c.d e][]=1", {"a_b": {"c.d e": {0: "1"}}}),
            # The later assignment wins.
            ("a=1&a[]=2", {"a": {0: "2"}}),
            ("a[]=1&a=2", {"a": "2"}),
            ("a[0]=1&a[0][]=2", {"a": {0: {0: "2"}}}),
            ("a[0][]=1&a[0]=2", {"a": {0: "2"}}),
            # Brackets that do not match.
            ("a[b=1", {"a_b": "1"}),
            ("a[b.c[d=1", {"a_b_c_d": "1"}),
            ("a]=1", {"a]": "1"}),
            ("a[k]tail=1", {"a": {"k": "1"}}),
            ("a[k]tail[l]=1", {"a": {"k": "1"}}),
            ("a[k][l=1", {"a": {"k": "1"}}),
            ("a[[]=1", {"a": {"[": "1"}}),
        ],
    )
    def test_example(self, text: str, expected: dict[str, Any]) -> None:
        parsed = parse_query_string(text)
        assert parsed == expected
        assert list(parsed) == list(expected)

    @settings(max_examples=300)
    @given(PAIRS, st.booleans())
    def test_equals_assignment_by_hand(
        self, pairs: list[tuple[str, list[str], str]], is_encoded: bool
    ) -> None:
        parsed: dict[str, Any] = dict(parse_query_string(write(pairs, is_encoded=is_encoded)))
        expected = naive(pairs)
        assert parsed == expected
        assert list(parsed) == list(expected)

    @settings(max_examples=300)
    @given(st.text() | st.text(alphabet="a[]&=.%5B+0 \ud800"))
    def test_any_text_parses_or_is_refused(self, text: str) -> None:
        try:
            parse_query_string(text, max_parameters=10, max_depth=2)
        except ClientError as error:
            assert error.kind is ErrorKind.URL_LIMIT  # noqa: PT017 - one of the two right outcomes


class TestLimits:
    def test_too_many_parameters_are_refused(self) -> None:
        assert len(parse_query_string("&".join(f"a[]={n}" for n in range(1000)))["a"]) == 1000
        text = limit_text("&".join(["a[]=1"] * 1001))
        assert text == "At most 1000 parameters are allowed in the URL."

    def test_too_deep_nesting_is_refused(self) -> None:
        assert "a" in parse_query_string("a" + "[]" * 8 + "=1")
        assert limit_text("a" + "[]" * 9 + "=1") == "Parameters may be nested at most 8 levels deep."

    def test_limits_can_be_set(self) -> None:
        assert limit_text("a=1&b=2", max_parameters=1) == "At most 1 parameters are allowed in the URL."
        assert limit_text("a[][]=1", max_depth=1) == "Parameters may be nested at most 1 levels deep."
