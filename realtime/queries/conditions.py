"""What each query method asks of an attribute's value, as a table of functions that build tests.

Pure. Source: wire specification 6.3 for the original methods; for the added ones (16.10) the HTTP API, whose
string comparisons ignore case.
"""

import operator
import re
from collections.abc import Callable, Iterable
from typing import Any

from realtime.queries.compare import number_of, one_of

Test = Callable[[Any], bool]
"""Judges the value of an attribute that is present; null is None."""

Builder = Callable[[tuple[Any, ...]], Test]
"""Makes the test for a query's values."""

_WORD = re.compile(r"\w+")


def _not_equal(values: tuple[Any, ...]) -> Test:
    is_one_of = one_of(values)
    return lambda value: not is_one_of(value)


def _is_null(_values: tuple[Any, ...]) -> Test:
    return lambda value: value is None


def _is_not_null(_values: tuple[Any, ...]) -> Test:
    return lambda value: value is not None


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

        def test(value: Any) -> bool:
            number = number_of(value)
            if number is not None and number_bound is not None and compare(number, number_bound):
                return True
            if not isinstance(value, str):
                return False
            bound = string_bound if number is None else word_bound
            return bound is not None and compare(value, bound)

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

        def test(value: Any) -> bool:
            if isinstance(value, str):
                text = value.casefold()
                return quantifier(part is not None and part in text for part in folded)
            if isinstance(value, list):
                return quantifier(map(one_of(value), values))
            return False

        return test

    return build


def _text(matches: Callable[[str, str], bool]) -> Builder:
    """Return the builder for a comparison of the attribute with one string, ignoring case."""

    def build(values: tuple[Any, ...]) -> Test:
        wanted = values[0].casefold() if isinstance(values[0], str) else None

        def test(value: Any) -> bool:
            return wanted is not None and isinstance(value, str) and matches(value.casefold(), wanted)

        return test

    return build


def _search_text(text: str, wanted: str) -> bool:
    """Search as the API's full-text index does: any of the words, the last also as the beginning of one.

    In double quotes the words must follow each other.
    """
    words, asked = _WORD.findall(text), _WORD.findall(wanted)
    if not asked:
        return False
    if len(wanted) > 1 and wanted[0] == wanted[-1] == '"':
        return f" {' '.join(asked)} " in f" {' '.join(words)} "
    return not set(asked).isdisjoint(words) or any(word.startswith(asked[-1]) for word in words)


def _negated(build: Builder) -> Builder:
    """Return the builder for the opposite. As in SQL, null passes neither a condition nor its opposite."""

    def build_negated(values: tuple[Any, ...]) -> Test:
        test = build(values)
        return lambda value: value is not None and not test(value)

    return build_negated


BUILDERS: dict[str, Builder] = {
    "equal": one_of,
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
    "startsWith": _text(str.startswith),
    "notStartsWith": _negated(_text(str.startswith)),
    "endsWith": _text(str.endswith),
    "notEndsWith": _negated(_text(str.endswith)),
    "between": _between,
    "notBetween": _not_between,
    "search": _text(_search_text),
    "notSearch": _negated(_text(_search_text)),
}
"""Every method that looks at an attribute; the rest are ``and``, ``or`` and ``select``."""
