"""Pages of lists that no database keeps: filtered, ordered, cut and counted as :mod:`workers.store.pages` does it.

Pure. The conditions mean what :mod:`workers.store.conditions` says. Attributes have one value or None; arrays are not
among them.
"""

import operator
import re
from collections.abc import Callable, Iterable, Mapping, MutableSequence, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from realtime.queries.payload import SEARCHED_CHARACTERS
from realtime.queries.query import Query
from workers.store.conditions import check_kind, check_searches, search_pattern
from workers.store.fields import Kind, bind
from workers.store.pages import MAX_TOTAL, no_cursor
from workers.store.queries import SEQUENCE, ListQuery, Order, unknown_attribute

T = TypeVar("T")

Test = Callable[[Any], bool]
"""Judges a value; None was dealt with before."""


@dataclass(frozen=True, slots=True)
class MemoryField(Generic[T]):
    """One attribute of the items of a list."""

    get: Callable[[T], Any]
    kind: Kind
    """Any but ``json-array`` and ``opaque``."""


@dataclass(frozen=True, slots=True)
class MemoryPage(Generic[T]):
    """The items that a list shows, in order."""

    items: list[T]
    total: int
    """How many items meet the filters, at most :data:`~workers.store.pages.MAX_TOTAL`; 0 if they were not counted."""


def page_of(
    items: Iterable[T],
    fields: Mapping[str, MemoryField[T]],
    query: ListQuery,
    *,
    shuffle: Callable[[MutableSequence[Any]], None],
    count: bool = True,
) -> MemoryPage[T]:
    """Return the page of ``items`` that ``query`` asks for.

    Args:
        items: what there is at all, in the order of insertion.
        fields: what may be filtered and ordered by; ``$id`` is one of them.
        query: as :func:`workers.store.queries.parse_list` returns it; its ``select`` is for the caller.
        shuffle: puts a list in random order.
        count: whether to count the items.

    Raises:
        InvalidQueryError: an attribute is not known, cannot be asked that, or is of another type than the values.
        CursorNotFoundError: the cursor's item is not among ``items``.
    """
    check_searches(query.filters)
    tests = [_test(each, fields) for each in query.filters]
    ordered = _ordered(items, fields, query.orders)
    place = _place(ordered, fields["$id"], query)
    found = [(number, item) for number, item in enumerate(ordered) if all(test(item) for test in tests)]
    total = min(len(found), MAX_TOTAL) if count else 0
    if query.random:
        shuffle(found)
    if query.cursor is not None and query.cursor.before:
        found = [pair for pair in reversed(found) if pair[0] < place]
    elif query.cursor is not None:
        found = [pair for pair in found if pair[0] > place]
    page = [item for _, item in found[query.offset : query.offset + query.limit]]
    if query.cursor is not None and query.cursor.before:
        page.reverse()
    return MemoryPage(page, total)


def _ordered(items: Iterable[T], fields: Mapping[str, MemoryField[T]], orders: Sequence[Order]) -> list[T]:
    """Return the items in order: None before every value, and those that are alike by insertion."""
    keys: list[tuple[Callable[[T], Any], bool]] = []
    descending = False
    for order in orders:
        descending = order.descending
        if order.attribute in ("", SEQUENCE):
            break
        field = fields.get(order.attribute)
        if field is None:
            raise unknown_attribute(order.attribute)
        keys.append((field.get, descending))
    ordered = list(items)
    if descending:
        # As in SQL, where the time of insertion counts in the direction of what comes before it.
        ordered.reverse()
    for get, is_descending in reversed(keys):
        _sort(ordered, get, is_descending)
    return ordered


def _sort(items: list[T], get: Callable[[T], Any], is_descending: bool) -> None:
    """Sort by one attribute; those that are alike stay in the order that they have."""

    def key(item: T) -> tuple[bool, Any]:
        value = get(item)
        return (False, 0) if value is None else (True, value)

    items.sort(key=key, reverse=is_descending)


def _place(ordered: Sequence[T], id_field: MemoryField[T], query: ListQuery) -> int:
    """Return where the cursor's item is; -1 without a cursor."""
    if query.cursor is None:
        return -1
    for number, item in enumerate(ordered):
        if id_field.get(item) == query.cursor.id:
            return number
    raise no_cursor()


def _test(query: Query, fields: Mapping[str, MemoryField[T]]) -> Callable[[T], bool]:
    if query.method in ("and", "or"):
        children = [_test(child, fields) for child in query.values]
        quantifier = all if query.method == "and" else any
        return lambda item: quantifier(child(item) for child in children)
    field = fields.get(query.attribute)
    if field is None:
        raise unknown_attribute(query.attribute)
    get = field.get
    if query.method == "isNull":
        return lambda item: get(item) is None
    if query.method == "isNotNull":
        return lambda item: get(item) is not None
    check_kind(query, field.kind)
    values = [bind(field.kind, value, query.attribute).value for value in query.values]
    test = _BUILDERS[query.method](values)
    return lambda item: (value := get(item)) is not None and test(value)


def _equal(values: Sequence[Any]) -> Test:
    return lambda value: any(value == each for each in values)


def _comparison(compare: Callable[[Any, Any], bool]) -> Callable[[Sequence[Any]], Test]:
    return lambda values: lambda value: compare(value, values[0])


def _between(values: Sequence[Any]) -> Test:
    low, high = values
    return lambda value: low <= value <= high


def _not_between(values: Sequence[Any]) -> Test:
    low, high = values
    return lambda value: value < low or value > high


def _contains(quantifier: Callable[[Iterable[bool]], bool]) -> Callable[[Sequence[Any]], Test]:
    def build(values: Sequence[Any]) -> Test:
        parts = [text.lower() for text in values]
        return lambda value: quantifier(part in value.lower() for part in parts)

    return build


def _end(matches: Callable[[str, str], bool]) -> Callable[[Sequence[Any]], Test]:
    def build(values: Sequence[Any]) -> Test:
        part = values[0].lower()
        return lambda value: matches(value.lower(), part)

    return build


def _search(values: Sequence[Any]) -> Test:
    pattern = search_pattern(values[0])
    if pattern is None:
        return lambda _value: False
    find = re.compile(pattern).search
    return lambda value: find(value.lower()[:SEARCHED_CHARACTERS]) is not None


def _negated(build: Callable[[Sequence[Any]], Test]) -> Callable[[Sequence[Any]], Test]:
    def build_negated(values: Sequence[Any]) -> Test:
        test = build(values)
        return lambda value: not test(value)

    return build_negated


_BUILDERS: dict[str, Callable[[Sequence[Any]], Test]] = {
    "equal": _equal,
    "notEqual": _negated(_equal),
    "lessThan": _comparison(operator.lt),
    "lessThanEqual": _comparison(operator.le),
    "greaterThan": _comparison(operator.gt),
    "greaterThanEqual": _comparison(operator.ge),
    "between": _between,
    "notBetween": _not_between,
    "contains": _contains(any),
    "notContains": _negated(_contains(any)),
    "containsAny": _contains(any),
    "containsAll": _contains(all),
    "startsWith": _end(str.startswith),
    "notStartsWith": _negated(_end(str.startswith)),
    "endsWith": _end(str.endswith),
    "notEndsWith": _negated(_end(str.endswith)),
    "search": _search,
    "notSearch": _negated(_search),
}
