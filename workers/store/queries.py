"""The queries of a list: which of the resources, in what order, from where, and how many. Pure.

The texts are those of subscriptions (:mod:`realtime.queries`), with the methods for lists besides. What they mean for
the database is elsewhere: :mod:`workers.store.conditions` for filters, :mod:`workers.store.pages` for the rest.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec

from realtime.errors import InvalidQueryError
from realtime.queries.query import LOGICAL_METHODS, Query, check_count, cost_of, parse_query

MAX_QUERIES = 100
"""How many queries a list may have, nested ones included; the ``contains`` family counts once a value."""

MAX_QUERY_CHARS = 4096
"""How long the text of one query may be."""

MAX_VALUES = 100
"""How many values one query may have."""

MAX_DEPTH = 5
"""How many ``and`` and ``or`` may lie in each other."""

MAX_LIMIT = 5000
"""How many resources a page may have."""

DEFAULT_LIMIT = 25

MAX_OFFSET = 2**53
"""What JSON clients can count to."""

SEQUENCE = "$sequence"
"""The attribute that orders by the time of insertion; so does an empty one."""

_COMPARISONS = frozenset({"lessThan", "lessThanEqual", "greaterThan", "greaterThanEqual"})
_CHOICES = frozenset({"equal", "notEqual"})
_NULLS = frozenset({"isNull", "isNotNull"})
_MATCHES = frozenset({
    "contains", "notContains", "containsAny", "containsAll", "startsWith", "notStartsWith", "endsWith", "notEndsWith",
    "between", "notBetween", "search", "notSearch",
})  # fmt: skip
_CONDITIONS = _COMPARISONS | _CHOICES | _NULLS | _MATCHES | LOGICAL_METHODS
_ORDERS = frozenset({"orderAsc", "orderDesc", "orderRandom"})
_CURSORS = frozenset({"cursorAfter", "cursorBefore"})
_LISTS = _ORDERS | _CURSORS | {"limit", "offset", "select"}


class CursorNotFoundError(InvalidQueryError):
    """There is no resource with the ID in ``cursorAfter`` or ``cursorBefore``."""

    type = "general_cursor_not_found"


class Order(msgspec.Struct, frozen=True):
    """By what a list is ordered."""

    attribute: str
    """Empty or :data:`SEQUENCE` for the time of insertion."""
    descending: bool = False


class Cursor(msgspec.Struct, frozen=True):
    """The resource that a page lies after, or before."""

    id: str
    before: bool = False


class ListQuery(msgspec.Struct, frozen=True):
    """What was asked of a list."""

    filters: tuple[Query, ...] = ()
    """Conditions, all of which a resource must meet."""
    orders: tuple[Order, ...] = ()
    """First the one that counts most."""
    random: bool = False
    """Whether the list is in random order; ``orders`` do not count then."""
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    cursor: Cursor | None = None
    select: tuple[str, ...] = ()
    """Attributes to show; empty for all. ``*`` stands for all, ``author.name`` for one of a related row."""


def parse_list(texts: Sequence[object], *, attributes: Collection[str] | None = None) -> ListQuery:
    """Parse the queries of a request for a list.

    Args:
        texts: what the client sent, each meant to be a JSON text such as
            ``{"method":"equal","attribute":"name","values":["Ada"]}``.
        attributes: what filters, orders and ``select`` may name, besides attributes that begin with ``$`` in
            ``select``; None for anything.

    Returns:
        The parts. Of several limits, offsets or cursors the first counts, as in the original.

    Raises:
        InvalidQueryError: a text is no query, names an unknown attribute or a method that lists do not have, or has
            the wrong number or kind of values. Values are compared with the attribute's type later, by
            :mod:`workers.store.conditions`.
    """
    if len(texts) > MAX_QUERIES:
        raise InvalidQueryError(f"Invalid query: At most {MAX_QUERIES} queries are allowed.")
    queries = [_parse(text) for text in texts]
    if cost_of(queries) > MAX_QUERIES:
        raise InvalidQueryError(
            f"Invalid query: At most {MAX_QUERIES} queries are allowed, nested ones included."
        )
    filters = tuple(query for query in queries if query.method not in _LISTS)
    for query in filters:
        _check_filter(query, attributes)
    orders = tuple(
        Order(query.attribute, query.method == "orderDesc")
        for query in queries
        if query.method in ("orderAsc", "orderDesc")
    )
    _check_attributes((order.attribute for order in orders if order.attribute), attributes)
    is_random = any(query.method == "orderRandom" for query in queries)
    cursor = _cursor(queries)
    if is_random and cursor is not None:
        raise InvalidQueryError("Invalid query: Cursors cannot be combined with a random order.")
    return ListQuery(
        filters=filters,
        orders=orders,
        random=is_random,
        limit=_number(queries, "limit", 1, MAX_LIMIT, DEFAULT_LIMIT),
        offset=_number(queries, "offset", 0, MAX_OFFSET, 0),
        cursor=cursor,
        select=_selection(queries, attributes),
    )


def _parse(text: object) -> Query:
    if isinstance(text, str) and len(text) > MAX_QUERY_CHARS:
        raise InvalidQueryError(f"Invalid query: At most {MAX_QUERY_CHARS} characters are allowed.")
    return parse_query(text, max_depth=MAX_DEPTH)


def _check_filter(query: Query, attributes: Collection[str] | None) -> None:
    """Refuse a condition that no list has, or whose parts are wrong; the parser has bounded its depth."""
    method = query.method
    title = method[0].upper() + method[1:]
    if method not in _CONDITIONS:
        raise InvalidQueryError(f"Invalid query: Query method '{method}' is not supported here.")
    if len(query.values) > MAX_VALUES:
        raise InvalidQueryError(f"Invalid query: {title} queries may have at most {MAX_VALUES} values.")
    if method in LOGICAL_METHODS:
        if not query.values:
            raise InvalidQueryError(f"Invalid query: {title} queries require at least one query.")
        for child in query.values:
            _check_filter(child, attributes)
        return
    if not query.attribute:
        raise InvalidQueryError(f"Invalid query: {title} queries require an attribute.")
    _check_attributes([query.attribute], attributes)
    if method in _COMPARISONS and len(query.values) != 1:
        raise InvalidQueryError(f"Invalid query: {title} queries require exactly one value.")
    if method in _CHOICES and not query.values:
        raise InvalidQueryError(f"Invalid query: {title} queries require at least one value.")
    try:
        check_count(query)
    except InvalidQueryError as error:
        raise InvalidQueryError(f"Invalid query: {error}") from error


def _check_attributes(names: Iterable[str], attributes: Collection[str] | None) -> None:
    if attributes is None:
        return
    for name in names:
        if name not in attributes and name != SEQUENCE:
            raise unknown_attribute(name)


def unknown_attribute(name: str) -> InvalidQueryError:
    """Return the error for an attribute that the resources of the list do not have."""
    return InvalidQueryError(f"Invalid query: Attribute not found in schema: {name}")


def _number(queries: Iterable[Query], method: str, least: int, most: int, default: int) -> int:
    """Return the one value of the first query with ``method``."""
    for query in queries:
        if query.method == method:
            value: Any = query.values[0] if len(query.values) == 1 else None
            if type(value) is not int or not least <= value <= most:
                raise InvalidQueryError(
                    f"Invalid query: Invalid {method}: Value must be a valid range between {least:,} and {most:,}"
                )
            return value
    return default


def _cursor(queries: Iterable[Query]) -> Cursor | None:
    for query in queries:
        if query.method in _CURSORS:
            value: Any = query.values[0] if len(query.values) == 1 else None
            if type(value) is not str or not value:
                raise InvalidQueryError("Invalid query: Invalid cursor: Value must be an ID.")
            return Cursor(value, before=query.method == "cursorBefore")
    return None


def _selection(queries: Iterable[Query], attributes: Collection[str] | None) -> tuple[str, ...]:
    names: list[str] = []
    for query in queries:
        if query.method == "select":
            if not query.values or len(query.values) > MAX_VALUES:
                raise InvalidQueryError(
                    f"Invalid query: Select queries require 1 to {MAX_VALUES} attributes."
                )
            for value in query.values:
                if type(value) is not str or not value:
                    raise InvalidQueryError("Invalid query: Select queries require names of attributes.")
                names.append(value)
    own = (name.partition(".")[0] for name in names if name != "*" and not name.startswith("$"))
    _check_attributes(own, attributes)
    return tuple(names)
