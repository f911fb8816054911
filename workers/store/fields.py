"""What a list can be filtered and ordered by: an attribute's column in SQL, and what kind of values it has."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import BigInteger, Boolean, Double, Text, literal
from sqlalchemy.sql.elements import BindParameter, ColumnElement

from realtime.errors import InvalidQueryError
from workers.store.times import from_iso

Kind = Literal["string", "id", "integer", "double", "boolean", "datetime", "json-array", "opaque"]
"""``opaque`` is for what can only be null or not, such as shapes."""

TEXT_KINDS = frozenset({"string", "id", "datetime"})
"""Kinds whose values are texts in SQL."""

_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Field:
    """One attribute of the resources in a list."""

    column: ColumnElement[Any]
    """Its column, or an expression."""
    kind: Kind
    items: Kind | None = None
    """What the items of a ``json-array`` are; None for any string, number or boolean."""
    has_word_index: bool = False
    """Whether PostgreSQL has an index of its words: of :class:`workers.store.dialects.word_vector`."""


def bind(kind: Kind | None, value: object, attribute: str) -> BindParameter[Any]:
    """Return a query's value as a parameter of a statement, to be compared with a column of ``kind``.

    Args:
        kind: what the attribute, or an item of it, is; None for any scalar.
        value: as in the query.
        attribute: for the error.

    Raises:
        InvalidQueryError: the value is of another kind.
    """
    converted = _CONVERTERS[kind](value)
    if converted is None:
        raise InvalidQueryError(f'Invalid query: Query value is invalid for attribute "{attribute}"')
    return converted


def _string(value: object) -> BindParameter[Any] | None:
    # PostgreSQL has no text with NUL.
    return literal(value, Text) if isinstance(value, str) and "\0" not in value else None


def _datetime(value: object) -> BindParameter[Any] | None:
    if not isinstance(value, str):
        return None
    try:
        return literal(from_iso(value), Text)
    except ValueError:
        return None


def _integer(value: object) -> BindParameter[Any] | None:
    if isinstance(value, float) and value.is_integer() and int(value) in _INT64:
        value = int(value)
    if type(value) is int and value in _INT64:
        return literal(value, BigInteger)
    # Compared as it is: 1.5 is greater than 1, and whatever no column can hold is equal to nothing.
    return _double(value)


def _double(value: object) -> BindParameter[Any] | None:
    if type(value) is int or isinstance(value, float):
        return literal(float(value), Double)
    return None


def _boolean(value: object) -> BindParameter[Any] | None:
    return literal(value, Boolean) if isinstance(value, bool) else None


def _scalar(value: object) -> BindParameter[Any] | None:
    if isinstance(value, bool):
        return _boolean(value)
    return _string(value) if isinstance(value, str) else _integer(value)


_CONVERTERS: dict[Kind | None, Callable[[object], BindParameter[Any] | None]] = {
    "string": _string,
    "id": _string,
    "integer": _integer,
    "double": _double,
    "boolean": _boolean,
    "datetime": _datetime,
    "json-array": lambda _value: None,
    "opaque": lambda _value: None,
    None: _scalar,
}
