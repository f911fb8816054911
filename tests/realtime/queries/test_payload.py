"""What filters derive from a payload: once for each event, and from the beginning of a text only."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.queries import Filter, PayloadView, compile_filter, payload
from realtime.queries.payload import SEARCHED_CHARACTERS, Value, words_of


def compiled(method: str, *values: object) -> Filter:
    query = compile_filter([json.dumps({"method": method, "attribute": "a", "values": values})])
    assert query is not None
    return query


def passes(method: str, wanted: str, value: object) -> bool:
    return compiled(method, wanted).matches({"a": value})


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the functions that worked through a value, in the order of the calls."""
    names: list[str] = []
    for name in ("number_of", "one_of", "words_of"):
        original = getattr(payload, name)

        def counting(argument: Any, name: str = name, original: Any = original) -> Any:
            names.append(name)
            return original(argument)

        monkeypatch.setattr(payload, name, counting)
    return names


class TestPayloadView:
    def test_value_is_the_same_object_each_time(self) -> None:
        view = PayloadView({"a": None})
        value = view.value("a")
        assert value is not None
        assert value.raw is None
        assert view.value("a") is value

    def test_absent_attribute_has_no_value(self) -> None:
        assert PayloadView({"a": 1}).value("b") is None

    @pytest.mark.parametrize(
        ("methods", "value", "work"),
        [
            (["search", "notSearch", "contains", "startsWith", "endsWith"], "the quick fox", ["words_of"]),
            (["contains", "notContains", "containsAll"], ["red", "green"], ["one_of"]),
            (["lessThan", "greaterThan", "lessThanEqual"], "12", ["number_of"]),
        ],
    )
    def test_work_on_a_value_does_not_grow_with_the_filters(
        self, methods: list[str], value: object, work: list[str], calls: list[str]
    ) -> None:
        queries = [compiled(method, f"x{n}") for method in methods for n in range(20)]
        view = PayloadView({"a": value})
        verdicts = [query.accepts(view) for query in queries]
        assert calls == work
        assert verdicts == [query.matches({"a": value}) for query in queries]


class TestSearchedCharacters:
    @pytest.mark.parametrize("method", ["contains", "search"])
    def test_text_beyond_the_bound_is_not_searched(self, method: str) -> None:
        filling = "- " * (SEARCHED_CHARACTERS // 2)
        assert passes(method, "fox", filling[:-4] + "fox")
        assert not passes(method, "fox", filling + "fox")

    def test_both_ends_are_those_of_the_whole_text(self) -> None:
        long = "Start" + "-" * SEARCHED_CHARACTERS + "End"
        assert passes("startsWith", "start", long)
        assert passes("endsWith", "end", long)


class TestValue:
    @pytest.mark.parametrize("raw", [None, True, 5, 1.5, ["a"], {"a": 1}])
    def test_only_strings_have_a_text(self, raw: object) -> None:
        value = Value(raw)
        assert value.folded is None
        assert value.searched == ""
        assert value.words == frozenset()
        assert not value.has_word_from("a")

    @given(st.text("abé _-", max_size=12), st.text("abé", min_size=1, max_size=3))
    def test_beginnings_of_words_are_found(self, text: str, beginning: str) -> None:
        expected = any(word.startswith(beginning) for word in words_of(text))
        assert Value(text).has_word_from(beginning) is expected
