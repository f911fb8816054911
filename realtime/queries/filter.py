"""Queries compiled to a :class:`Filter`, the object that an event's payload is matched against.

Filters of equal content are one object while anybody holds it, so that an event is matched once however many
subscriptions asked the same. Pure. Source: wire specification 6.3.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

from realtime.queries.conditions import BUILDERS, Test
from realtime.queries.payload import PayloadView
from realtime.queries.query import Query, cost_of, parse_queries, serialize

_Predicate = Callable[[PayloadView], bool]


class Filter:
    """A set of queries, all of which a payload must pass. Immutable; hashed and compared by content.

    Content means types too: filters for ``[1]``, ``[1.0]`` and ``[true]`` differ, and so do filters whose
    queries stand in another order.
    """

    __slots__ = ("__weakref__", "_hash", "_holds", "accepts_all", "cost", "queries", "texts")

    # The parsed queries, in the client's order.
    queries: tuple[Query, ...]
    # The same as JSON texts, as subscribe responses carry them; they tell 1 from 1.0 and true.
    texts: tuple[str, ...]
    # Whether every payload passes: no queries, or a top-level select("*").
    accepts_all: bool
    # How many queries an event may have to be tried with, counted as for the limit of a subscription.
    cost: int

    def __init__(self, queries: tuple[Query, ...]) -> None:
        self.queries = queries
        self.texts = tuple(map(serialize, queries))
        self.accepts_all = not queries or any(query.method == "select" for query in queries)
        self.cost = cost_of(queries)
        self._hash = hash(self.texts)
        self._holds = _always if self.accepts_all else _all_of([_compile(query) for query in queries])

    def matches(self, payload: Mapping[str, Any]) -> bool:
        """Tell whether an event with this payload passes.

        Args:
            payload: The published JSON object, decoded. Only top-level keys are looked at; a query about a
                key that is absent is false, whatever its method.
        """
        return self._holds(PayloadView(payload))

    def accepts(self, view: PayloadView) -> bool:
        """Tell the same as :meth:`matches` of an event that other filters look at too.

        What this filter has to derive from the payload stays in ``view`` for the others.
        """
        return self._holds(view)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Filter) and self.texts == other.texts)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Filter({', '.join(self.texts)})"


# By Filter.texts. An entry goes with the last holder of its filter.
_interned: WeakValueDictionary[tuple[str, ...], Filter] = WeakValueDictionary()


def compile_filter(texts: Sequence[object], *, max_depth: int = 10, max_queries: int = 100) -> Filter | None:
    """Parse, check and compile the queries of one subscription.

    Args:
        texts: What the client sent, each meant to be a JSON text.
        max_depth: How many ``and`` and ``or`` may lie in each other; 0 for the built-in bound only.
        max_queries: How many queries there may be, nested ones included; 0 for any number.

    Returns:
        The filter, the same object as for earlier texts of equal content; None if every event passes.

    Raises:
        InvalidQueryError: As :func:`~realtime.queries.query.parse_queries`.
    """
    compiled = Filter(parse_queries(texts, max_depth=max_depth, max_queries=max_queries))
    return None if compiled.accepts_all else _interned.setdefault(compiled.texts, compiled)


def _compile(query: Query) -> _Predicate:
    """Compile one query to a function of the payload."""
    if query.method == "and":
        return _all_of([_compile(child) for child in query.values])
    if query.method == "or":
        return _any_of([_compile(child) for child in query.values])
    if query.method == "select":
        return _never  # nested; at the top level it accepts all
    return _condition(query.attribute, BUILDERS[query.method](query.values))


def _condition(attribute: str, test: Test) -> _Predicate:
    def holds(payload: PayloadView) -> bool:
        value = payload.value(attribute)
        return value is not None and test(value)

    return holds


def _all_of(predicates: list[_Predicate]) -> _Predicate:
    if len(predicates) == 1:
        return predicates[0]

    def all_hold(payload: PayloadView) -> bool:
        # A loop, not all(): a generator would cost as much again as a condition.
        for holds in predicates:  # noqa: SIM110
            if not holds(payload):
                return False
        return True

    return all_hold


def _any_of(predicates: list[_Predicate]) -> _Predicate:
    def any_holds(payload: PayloadView) -> bool:
        for holds in predicates:  # noqa: SIM110
            if holds(payload):
                return True
        return False

    return any_holds


def _always(_payload: PayloadView) -> bool:
    return True


def _never(_payload: PayloadView) -> bool:
    return False
