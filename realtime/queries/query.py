"""Query texts to :class:`Query` values and back: the grammar, the allowed methods and every error text.

A query either parses or raises :class:`~realtime.errors.InvalidQueryError`, whatever the text: nesting is
bounded before anything recurses into it, and numbers that are too large for a float are refused. Pure.
Source: wire specification 6.1, 6.2, 3.4 and 16.10.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import orjson

from realtime.errors import InvalidQueryError

ORIGINAL_METHODS = (
    "equal", "notEqual", "lessThan", "lessThanEqual", "greaterThan", "greaterThanEqual",
    "isNull", "isNotNull", "and", "or", "select",
)  # fmt: skip
"""What Appwrite's realtime allows, in the order of its error text."""

ADDED_METHODS = (
    "contains", "notContains", "containsAny", "containsAll", "startsWith", "notStartsWith", "endsWith",
    "notEndsWith", "between", "notBetween", "search", "notSearch",
)  # fmt: skip
"""What this hub allows beyond that (wire specification 16.10)."""

ALLOWED_METHODS = ORIGINAL_METHODS + ADDED_METHODS
"""Every method a subscription may use."""

UNSUPPORTED_METHODS = frozenset({
    "orderAsc", "orderDesc", "orderRandom", "limit", "offset", "cursorAfter", "cursorBefore",
    "regex", "exists", "notExists", "elemMatch", "relationEqual", "innerJoin", "leftJoin", "rightJoin",
    "crosses", "notCrosses", "distanceEqual", "distanceNotEqual", "distanceGreaterThan", "distanceLessThan",
    "intersects", "notIntersects", "overlaps", "notOverlaps", "touches", "notTouches",
    "vectorDot", "vectorCosine", "vectorEuclidean",
})  # fmt: skip
"""Methods of the HTTP API that make no sense for one payload, or need its indexes; refused by name."""

LOGICAL_METHODS = frozenset({"and", "or"})
"""Methods whose values are queries."""

MAX_JSON_DEPTH = 128
"""How deep lists and objects of a query text may lie in each other, whatever the settings say.

It keeps parsing, compiling and matching far from the interpreter's recursion limit.
"""

_ONE_VALUE = frozenset({"startsWith", "notStartsWith", "endsWith", "notEndsWith", "search", "notSearch"})
_TWO_VALUES = frozenset({"between", "notBetween"})
_SOME_VALUES = frozenset({"contains", "notContains", "containsAny", "containsAll"})

# The names of types as clients of the original know them, from PHP's gettype().
_TYPE_NAMES = {
    str: "string", int: "integer", float: "double", bool: "boolean", list: "array", dict: "array",
    type(None): "NULL",
}  # fmt: skip


class Query(msgspec.Struct, frozen=True):
    """One parsed query.

    Two queries compare with Python's ``==``, for which 1, 1.0 and True are equal; compare what
    :func:`serialize` makes of them where types matter.
    """

    method: str
    """One of :data:`ALLOWED_METHODS`."""
    attribute: str = ""
    """A top-level key of the payload; empty for ``and``, ``or`` and ``select``."""
    values: tuple[Any, ...] = ()
    """JSON values to compare with; for ``and`` and ``or`` the nested :class:`Query` objects."""


def parse_queries(
    texts: Sequence[object], *, max_depth: int = 10, max_queries: int = 100
) -> tuple[Query, ...]:
    """Parse and check the queries of one subscription.

    Args:
        texts: What the client sent, each meant to be a JSON text; anything else is refused.
        max_depth: How many ``and`` and ``or`` may lie in each other; 0 leaves it to :data:`MAX_JSON_DEPTH`.
        max_queries: How many queries there may be, nested ones included; 0 for any number. The
            ``contains`` family counts once for each value, since each costs as much as a query.

    Returns:
        The queries in the order given.

    Raises:
        InvalidQueryError: With the text of wire specification 6.2. All texts are parsed, first to last,
            before methods are checked; that goes from the last query to the first, nested ones before those
            on their left.
    """
    queries = tuple([parse_query(text, max_depth=max_depth) for text in texts])
    pending = list(queries)
    count = 0
    while pending:
        query = pending.pop()
        _check_method(query)
        count += _own_cost(query)
        if 0 < max_queries < count:
            raise InvalidQueryError(
                f"Invalid query. At most {max_queries} queries are allowed, nested ones included."
            )
        if query.method in LOGICAL_METHODS:
            pending.extend(query.values)
    return queries


def parse_query(text: object, *, max_depth: int) -> Query:
    """Parse one JSON text, whatever its method is good for and however many values it has.

    Args:
        text: What the client sent.
        max_depth: As for :func:`parse_queries`.

    Raises:
        InvalidQueryError: The text is no query, or its method is not known at all.
    """
    if not isinstance(text, str):
        raise InvalidQueryError(f"Invalid query. Must be a string, got {_type_name(text)}")
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidQueryError("Invalid query: Syntax error") from error
    _check_json_depth(document)
    return _parse_object(document, max_depth, 0)


def check_count(query: Query) -> None:
    """Refuse a query with the wrong number of values; only those of :data:`ADDED_METHODS` are counted.

    The texts are the ones of the HTTP API; wire specification 6.2 has none.

    Raises:
        InvalidQueryError: There are too few or too many.
    """
    method, values = query.method, query.values
    title = method[0].upper() + method[1:]
    if method in _ONE_VALUE and len(values) != 1:
        raise InvalidQueryError(f"{title} queries require exactly one value.")
    if method in _TWO_VALUES and len(values) != 2:
        raise InvalidQueryError(f"{title} queries require exactly two values.")
    if method in _SOME_VALUES and not values:
        raise InvalidQueryError(f"{title} queries require at least one value.")


def cost_of(queries: Iterable[Query]) -> int:
    """Return how many queries these are, counted as :func:`parse_queries` does for its ``max_queries``."""
    cost = 0
    for query in queries:
        cost += _own_cost(query)
        if query.method in LOGICAL_METHODS:
            cost += cost_of(query.values)
    return cost


def serialize(query: Query) -> str:
    """Write a query as the JSON text that ``subscribe`` responses carry (wire specification 3.4).

    The members are ``method``, ``attribute`` (left out when empty) and ``values``, in that order, without
    spaces.
    """
    return orjson.dumps(_to_json(query)).decode()


def _own_cost(query: Query) -> int:
    """Return what ``query`` costs without those nested in it."""
    return len(query.values) if query.method in _SOME_VALUES else 1


def _to_json(query: Query) -> dict[str, Any]:
    """Return the object that stands for ``query``; its depth is bounded by the parser."""
    members: dict[str, Any] = {"method": query.method}
    if query.attribute:
        members["attribute"] = query.attribute
    if query.method in LOGICAL_METHODS:
        members["values"] = [_to_json(child) for child in query.values]
    else:
        members["values"] = query.values
    return members


def _parse_object(document: object, max_depth: int, depth: int) -> Query:
    """Parse a decoded query that lies within ``depth`` others.

    Members that are missing or null take their defaults, and a list is an object without members, as in PHP.
    """
    if not isinstance(document, list | dict):
        raise InvalidQueryError(f"Invalid query. Must be an array, got {_type_name(document)}")
    if 0 < max_depth < depth:
        raise InvalidQueryError(f"Invalid query. At most {max_depth} levels of nesting are allowed.")
    members = document if isinstance(document, dict) else {}
    method = _member(members, "method", "")
    attribute = _member(members, "attribute", "")
    values = _member(members, "values", [])
    if not isinstance(method, str):
        raise InvalidQueryError(f"Invalid query method. Must be a string, got {_type_name(method)}")
    if method not in ALLOWED_METHODS and method not in UNSUPPORTED_METHODS:
        raise InvalidQueryError(f"Invalid query method: {method}")
    if not isinstance(attribute, str):
        raise InvalidQueryError(f"Invalid query attribute. Must be a string, got {_type_name(attribute)}")
    if isinstance(values, dict):  # an array like any other to PHP, which drops nothing but the keys
        values = list(values.values())
    if not isinstance(values, list):
        raise InvalidQueryError(f"Invalid query values. Must be an array, got {_type_name(values)}")
    if method in LOGICAL_METHODS:
        values = [_parse_object(value, max_depth, depth + 1) for value in values]
    return Query(method, attribute, tuple(values))


def _member(members: dict[str, Any], name: str, default: object) -> object:
    """Return a member of a query, or its default when it is missing or null."""
    value = members.get(name)
    return default if value is None else value


def _check_json_depth(document: object) -> None:
    """Refuse a document nested deeper than :data:`MAX_JSON_DEPTH`, level by level, without recursion."""
    level = [document]
    for _ in range(MAX_JSON_DEPTH + 1):
        children: list[object] = []
        for node in level:
            if isinstance(node, list):
                children += node
            elif isinstance(node, dict):
                children += node.values()
        if not children:
            return
        level = children
    raise InvalidQueryError("Invalid query: Maximum stack depth exceeded")


def _check_method(query: Query) -> None:
    """Refuse a method that a subscription may not use, or that has the wrong number of values."""
    method, values = query.method, query.values
    if method in UNSUPPORTED_METHODS:
        allowed = ", ".join(ALLOWED_METHODS)
        raise InvalidQueryError(
            f"Query method '{method}' is not supported in Realtime queries. Allowed: {allowed}"
        )
    if method == "select" and values != ("*",):
        raise InvalidQueryError(
            'Only select("*") is allowed in Realtime queries. select("*") means "listen to all events".'
        )
    check_count(query)


def _type_name(value: object) -> str:
    """Name the type of a JSON value as PHP's ``gettype`` does."""
    return _TYPE_NAMES.get(type(value), "object")
