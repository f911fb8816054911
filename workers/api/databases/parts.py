"""Lists of the columns and indexes of a table, which are few, and in memory with the table. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from realtime.queries.filter import Filter
from workers.store.queries import CursorNotFoundError, ListQuery, Order

Part = Mapping[str, Any]
"""The model of a column or index."""


def list_parts(parts: Sequence[Part], query: ListQuery) -> tuple[int, list[Part]]:
    """Return how many of ``parts`` meet the filters of ``query``, and the page of them that it asks for.

    Raises:
        CursorNotFoundError: none has the key in the cursor.
    """
    found = [part for part in parts if not query.filters or Filter(query.filters).matches(part)]
    for order in reversed(query.orders):
        found.sort(key=lambda part, order=order: _sort_key(part, order), reverse=order.descending)  # type: ignore[misc]
    return len(found), _page(found, query)


def _sort_key(part: Part, order: Order) -> tuple[bool, str, Any]:
    """Return by what a part is ordered: null before values, and values of one type beside each other."""
    value = part.get(order.attribute)
    if value is None or isinstance(value, list | dict):
        return False, "", 0
    return True, type(value).__name__, value


def _page(found: list[Part], query: ListQuery) -> list[Part]:
    cursor = query.cursor
    if cursor is None:
        return found[query.offset : query.offset + query.limit]
    position = next((position for position, part in enumerate(found) if part["key"] == cursor.id), None)
    if position is None:
        raise CursorNotFoundError("The cursor is invalid: there is no such key.")
    if cursor.before:
        end = max(0, position - query.offset)
        return found[max(0, end - query.limit) : end]
    start = position + 1 + query.offset
    return found[start : start + query.limit]
