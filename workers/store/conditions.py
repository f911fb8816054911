"""Filters of a list as SQL conditions, which mean the same in SQLite and PostgreSQL.

What the original leaves to its database is decided here. ``equal`` and the orderings go by code points. ``contains``,
``startsWith``, ``endsWith`` and ``search`` ignore case, as they do for subscriptions
(:mod:`realtime.queries.conditions`), so that who lists and subscribes with the same queries sees the same. Null passes
neither a condition nor its opposite, as in SQL.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Text, and_, false, func, literal, not_, or_
from sqlalchemy.sql.elements import BindParameter, ColumnElement

from realtime.errors import InvalidQueryError
from realtime.queries.payload import SEARCHED_CHARACTERS, words_of
from realtime.queries.query import LOGICAL_METHODS, Query
from workers.store.dialects import by_code_point, folded, has_item, may_have_words
from workers.store.fields import TEXT_KINDS, Field, Kind, bind
from workers.store.queries import unknown_attribute

MAX_SEARCHES = 5
"""How many ``search`` and ``notSearch`` a list may have: each costs a scan of every text, where no index helps."""

MAX_WORDS = 50
"""How many words they may have together."""

Condition = ColumnElement[bool]


def conditions_of(filters: Iterable[Query], fields: Mapping[str, Field]) -> list[Condition]:
    """Return the conditions that a row must meet, all of them.

    Args:
        filters: as :func:`workers.store.queries.parse_list` returns them.
        fields: the attributes that there are, by name.

    Raises:
        InvalidQueryError: an attribute is not known, cannot be asked that, or is of another type than the values; or
            too much is searched for.
    """
    conditions = list(filters)
    check_searches(conditions)
    return [_condition(query, fields) for query in conditions]


def contains_text(columns: Iterable[ColumnElement[Any]], text: str) -> Condition:
    """Return the condition that one of the text columns contains ``text``, in any case: a list's ``search``."""
    return or_(*(_like(column, f"%{_escaped(text.replace(chr(0), ''))}%") for column in columns))


def search_pattern(text: str) -> str | None:
    """Return the regular expression that finds what a ``search`` for ``text`` finds, in lower case; None for nothing.

    It is one that Python, which SQLite is given, and PostgreSQL read alike.
    """
    words = words_of(text.lower())
    if not words:
        return None
    if len(text) > 1 and text[0] == text[-1] == '"':
        phrase = r"\W+".join(words)
        return rf"(^|\W){phrase}(\W|$)"
    return rf"(^|\W)(({'|'.join(words)})(\W|$)|{words[-1]})"


def operand(field: Field) -> ColumnElement[Any]:
    """Return what stands for ``field`` where values are put in order."""
    return by_code_point(field.column) if field.kind in TEXT_KINDS else field.column


def check_searches(filters: Iterable[Query]) -> None:
    """Check that a list does not search for too much.

    Raises:
        InvalidQueryError: it does.
    """
    texts = [query.values[0] for query in _leaves(filters) if query.method in _SEARCHES]
    if len(texts) > MAX_SEARCHES:
        raise InvalidQueryError(f"Invalid query: At most {MAX_SEARCHES} search queries are allowed.")
    if sum(len(words_of(text.lower())) for text in texts if isinstance(text, str)) > MAX_WORDS:
        raise InvalidQueryError(
            f"Invalid query: Search queries may have at most {MAX_WORDS} words, taken together."
        )


def _leaves(filters: Iterable[Query]) -> Iterator[Query]:
    """Return the conditions that are made of no others."""
    for query in filters:
        if query.method in LOGICAL_METHODS:
            yield from _leaves(query.values)
        else:
            yield query


def _condition(query: Query, fields: Mapping[str, Field]) -> Condition:
    if query.method == "and":
        return and_(*(_condition(child, fields) for child in query.values))
    if query.method == "or":
        return or_(*(_condition(child, fields) for child in query.values))
    field = fields.get(query.attribute)
    if field is None:
        raise unknown_attribute(query.attribute)
    if query.method == "isNull":
        return field.column.is_(None)
    if query.method == "isNotNull":
        return field.column.is_not(None)
    check_kind(query, field.kind)
    return _BUILDERS[query.method](field, query)


def check_kind(query: Query, kind: Kind) -> None:
    """Check that a condition makes sense for an attribute of ``kind``.

    Raises:
        InvalidQueryError: it does not.
    """
    subject = f'Cannot query {query.method} on attribute "{query.attribute}" because it is'
    if query.method in _TEXT_METHODS and kind not in {"string", "id"}:
        raise InvalidQueryError(f"Invalid query: {subject} not a string.")
    if query.method in _CONTAINMENTS:
        if kind not in ("string", "id", "json-array"):
            raise InvalidQueryError(f"Invalid query: {subject} not an array or string.")
    elif kind == "json-array":
        raise InvalidQueryError(f"Invalid query: {subject} an array.")
    elif kind == "opaque":
        raise InvalidQueryError(f"Invalid query: {subject} not comparable.")


def _binds(field: Field, query: Query) -> list[BindParameter[Any]]:
    return [bind(field.kind, value, query.attribute) for value in query.values]


def _equal(field: Field, query: Query) -> Condition:
    return or_(*(field.column == value for value in _binds(field, query)))


def _comparison(compare: Callable[[Any, Any], Any]) -> Callable[[Field, Query], Condition]:
    def build(field: Field, query: Query) -> Condition:
        condition: Condition = compare(operand(field), _binds(field, query)[0])
        return condition

    return build


def _between(field: Field, query: Query) -> Condition:
    low, high = _binds(field, query)
    column = operand(field)
    return and_(column >= low, column <= high)


def _not_between(field: Field, query: Query) -> Condition:
    low, high = _binds(field, query)
    column = operand(field)
    return or_(column < low, column > high)


def _contains(join: Callable[..., Condition]) -> Callable[[Field, Query], Condition]:
    """Return the builder for containing any or all of the values: parts of a text, or items of an array."""

    def build(field: Field, query: Query) -> Condition:
        if field.kind == "json-array":
            items = (bind(field.items, value, query.attribute) for value in query.values)
            return and_(field.column.is_not(None), join(*(has_item(field.column, item) for item in items)))
        return join(*(_like(field.column, f"%{text}%") for text in _patterns(field, query)))

    return build


def _starts_with(field: Field, query: Query) -> Condition:
    return _like(field.column, f"{_patterns(field, query)[0]}%")


def _ends_with(field: Field, query: Query) -> Condition:
    return _like(field.column, f"%{_patterns(field, query)[0]}")


def _search(field: Field, query: Query) -> Condition:
    """Search for any of the words, the last also as the beginning of one; in double quotes, for the phrase."""
    text = str(bind(field.kind, query.values[0], query.attribute).value)
    words = words_of(text.lower())
    pattern = search_pattern(text)
    if pattern is None:
        return false()
    found = func.substr(folded(field.column), 1, SEARCHED_CHARACTERS).regexp_match(pattern)
    return and_(may_have_words(field.column, words), found) if field.has_word_index else found


def _negated(build: Callable[[Field, Query], Condition]) -> Callable[[Field, Query], Condition]:
    def build_negated(field: Field, query: Query) -> Condition:
        return and_(field.column.is_not(None), not_(build(field, query)))

    return build_negated


def _like(column: ColumnElement[Any], pattern: str) -> Condition:
    """Return the condition that a text is like ``pattern``, in any case."""
    return folded(column).like(folded(literal(pattern, Text)), escape="\\")


def _patterns(field: Field, query: Query) -> Sequence[str]:
    """Return the values of ``query``, which must be texts, as parts of patterns that match nothing else."""
    return [_escaped(str(value.value)) for value in _binds(field, query)]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


_SEARCHES = frozenset({"search", "notSearch"})
_TEXT_METHODS = _SEARCHES | {"startsWith", "notStartsWith", "endsWith", "notEndsWith"}
_CONTAINMENTS = frozenset({"contains", "notContains", "containsAny", "containsAll"})

_BUILDERS: dict[str, Callable[[Field, Query], Condition]] = {
    "equal": _equal,
    "notEqual": _negated(_equal),
    "lessThan": _comparison(operator.lt),
    "lessThanEqual": _comparison(operator.le),
    "greaterThan": _comparison(operator.gt),
    "greaterThanEqual": _comparison(operator.ge),
    "between": _between,
    "notBetween": _not_between,
    "contains": _contains(or_),
    "notContains": _negated(_contains(or_)),
    "containsAny": _contains(or_),
    "containsAll": _contains(and_),
    "startsWith": _starts_with,
    "notStartsWith": _negated(_starts_with),
    "endsWith": _ends_with,
    "notEndsWith": _negated(_ends_with),
    "search": _search,
    "notSearch": _negated(_search),
}
