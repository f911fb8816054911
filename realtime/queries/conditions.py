"""What each query method asks of an attribute's value, as a table of functions that build tests.

Pure. Source: wire specification 6.3 for the original methods; for the added ones (16.10) the HTTP API, whose
string comparisons ignore case.
"""

import operator
from collections.abc import Callable, Iterable
from typing import Any

from realtime.queries.compare import number_of, one_of
from realtime.queries.payload import Value, words_of

Test = Callable[[Value], bool]
"""Judges the value of an attribute that is present."""

Builder = Callable[[tuple[Any, ...]], Test]
"""Makes the test for a query's values."""


def _equal(values: tuple[Any, ...]) -> Test:
    is_one_of = one_of(values)
    return lambda value: is_one_of(value.raw)


def _not_equal(values: tuple[Any, ...]) -> Test:
    is_one_of = one_of(values)
    return lambda value: not is_one_of(value.raw)


def _is_null(_values: tuple[Any, ...]) -> Test:
    return lambda value: value.raw is None


def _is_not_null(_values: tuple[Any, ...]) -> Test:
    return lambda value: value.raw is not None


def _ordering(compare: Callable[[Any, Any], bool], furthest: Callable[..., Any]) -> Builder:
    """Return the builder for ``compare``, which must hold for any one of the values.

    As in PHP 8, numbers and numeric strings compare as numbers, other pairs of strings by code point (the
    order of their UTF-8 bytes, in which ISO 8601 dates sort as they should); any other pair is false.
    Whatever holds for one of the values holds for the one that ``furthest`` picks, so only that is kept of
    each kind.
    """

    def build(values: tuple[Any, ...]) -> Test:
        strings = [value for value in values if isinstance(value, str)]
        words = [value for value in strings if number_of(value) is None]
        number_bound = furthest((n for n in map(number_of, values) if n is not None), default=None)
        string_bound = furthest(strings, default=None)
        word_bound = furthest(words, default=None)

        def test(value: Value) -> bool:
            number = value.number
            if number is not None and number_bound is not None and compare(number, number_bound):
                return True
            if not isinstance(value.raw, str):
                return False
            bound = string_bound if number is None else word_bound
            return bound is not None and compare(value.raw, bound)

        return test

    return build


_less_than = _ordering(operator.lt, max)
_less_than_equal = _ordering(operator.le, max)
_greater_than = _ordering(operator.gt, min)
_greater_than_equal = _ordering(operator.ge, min)


def _between(values: tuple[Any, ...]) -> Test:
    low, high = values
    at_least, at_most = _greater_than_equal((low,)), _less_than_equal((high,))
    return lambda value: at_least(value) and at_most(value)


def _not_between(values: tuple[Any, ...]) -> Test:
    low, high = values
    below, above = _less_than((low,)), _greater_than((high,))
    return lambda value: below(value) or above(value)


def _contains(quantifier: Callable[[Iterable[bool]], bool]) -> Builder:
    """Return the builder for containing any or all of the values: parts of a string, or items of a list."""

    def build(values: tuple[Any, ...]) -> Test:
        folded = [value.casefold() if isinstance(value, str) else None for value in values]

        def test(value: Value) -> bool:
            if value.folded is not None:
                text = value.searched
                return quantifier(part is not None and part in text for part in folded)
            if isinstance(value.raw, list):
                return quantifier(map(value.has_item, values))
            return False

        return test

    return build


def _end(matches: Callable[[str, str], bool]) -> Builder:
    """Return the builder for a comparison of a string's beginning or end with one string, ignoring case."""

    def build(values: tuple[Any, ...]) -> Test:
        if not isinstance(values[0], str):
            return _never
        wanted = values[0].casefold()
        return lambda value: value.folded is not None and matches(value.folded, wanted)

    return build


def _search(values: tuple[Any, ...]) -> Test:
    """Search as the API's full-text index does: any of the words, the last also as the beginning of one.

    In double quotes the words must follow each other.
    """
    if not isinstance(values[0], str):
        return _never
    wanted = values[0].casefold()
    asked = words_of(wanted)
    if not asked:
        return _never
    if len(wanted) > 1 and wanted[0] == wanted[-1] == '"':
        phrase = f" {' '.join(asked)} "
        return lambda value: phrase in value.phrase
    words, beginning = frozenset(asked), asked[-1]
    return lambda value: not words.isdisjoint(value.words) or value.has_word_from(beginning)


def _never(_value: Value) -> bool:
    return False


def _negated(build: Builder) -> Builder:
    """Return the builder for the opposite. As in SQL, null passes neither a condition nor its opposite."""

    def build_negated(values: tuple[Any, ...]) -> Test:
        test = build(values)
        return lambda value: value.raw is not None and not test(value)

    return build_negated


BUILDERS: dict[str, Builder] = {
    "equal": _equal,
    "notEqual": _not_equal,
    "lessThan": _less_than,
    "lessThanEqual": _less_than_equal,
    "greaterThan": _greater_than,
    "greaterThanEqual": _greater_than_equal,
    "isNull": _is_null,
    "isNotNull": _is_not_null,
    "contains": _contains(any),
    "notContains": _negated(_contains(any)),
    "containsAny": _contains(any),
    "containsAll": _contains(all),
    "startsWith": _end(str.startswith),
    "notStartsWith": _negated(_end(str.startswith)),
    "endsWith": _end(str.endswith),
    "notEndsWith": _negated(_end(str.endswith)),
    "between": _between,
    "notBetween": _not_between,
    "search": _search,
    "notSearch": _negated(_search),
}
"""Every method that looks at an attribute; the rest are ``and``, ``or`` and ``select``."""
