"""One page of a list: filtered, ordered, cut by offset or cursor, and counted.

Every order ends with ``seq``, so no two rows are alike in it, and a cursor is a place in that order: the next page
begins where the last one ended, whatever was inserted or deleted before it. Null comes before every value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    FromClause,
    RowMapping,
    Select,
    and_,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnElement

from realtime.errors import InvalidQueryError
from workers.store.conditions import conditions_of, operand
from workers.store.fields import Field
from workers.store.queries import SEQUENCE, Cursor, CursorNotFoundError, ListQuery, Order, unknown_attribute

__all__ = ["MAX_TOTAL", "Field", "Page", "fetch_page"]

MAX_TOTAL = 5000
"""How far rows are counted."""


@dataclass(frozen=True, slots=True)
class Page:
    """The rows that a list shows, in order."""

    rows: list[RowMapping]
    total: int
    """How many rows meet the filters, at most :data:`MAX_TOTAL`; 0 if they were not counted."""


@dataclass(frozen=True, slots=True)
class _Key:
    """One part of an order."""

    column: ColumnElement[Any]
    # The column as it compares.
    operand: ColumnElement[Any]
    descending: bool

    @property
    def is_nullable(self) -> bool:
        return bool(getattr(self.column, "nullable", True))

    def clause(self) -> ColumnElement[Any]:
        """Return the part as ``ORDER BY`` has it."""
        clause = self.operand.desc() if self.descending else self.operand.asc()
        if not self.is_nullable:
            return clause
        return clause.nulls_last() if self.descending else clause.nulls_first()

    def reversed(self) -> "_Key":
        return _Key(self.column, self.operand, not self.descending)

    def beyond(self, value: Any) -> ColumnElement[bool]:
        """Return the condition that a row comes after those with ``value``."""
        if value is None:
            return false() if self.descending else self.column.is_not(None)
        bound = literal(value, self.column.type)
        if not self.descending:
            return self.operand > bound
        below = self.operand < bound
        return or_(below, self.column.is_(None)) if self.is_nullable else below

    def level(self, value: Any) -> ColumnElement[bool]:
        """Return the condition that a row has ``value``."""
        return self.column.is_(None) if value is None else self.column == literal(value, self.column.type)

    def reach(self, value: Any) -> ColumnElement[bool]:
        """Return the range of an index in which rows with ``value`` and those that come after them are.

        Rows that come after them with null are outside it.
        """
        if value is None:
            return self.column.is_(None) if self.descending else true()
        bound = literal(value, self.column.type)
        return self.operand <= bound if self.descending else self.operand >= bound


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in an order a page begins."""

    # The condition that a row comes after the cursor's.
    beyond: ColumnElement[bool]
    # Says nothing new, but keeps the database from looking at all that lies before.
    reach: ColumnElement[bool]
    # Whether what comes last lies outside that range after all.
    nulls_follow: bool


async def fetch_page(
    connection: AsyncConnection,
    source: FromClause,
    fields: Mapping[str, Field],
    query: ListQuery,
    *,
    where: Sequence[ColumnElement[bool]],
    count: bool = True,
) -> Page:
    """Return the page of ``source`` that ``query`` asks for.

    Args:
        connection: what to read on.
        source: a table, or whatever else has the columns ``seq`` and ``id``.
        fields: what may be filtered and ordered by, by attribute.
        query: as :func:`workers.store.queries.parse_list` returns it; its ``select`` is for the caller.
        where: which rows there are at all, such as those of the project.
        count: whether to count the rows.

    Raises:
        InvalidQueryError: an attribute is not known, cannot be asked that, or is of another type than the values.
        CursorNotFoundError: the cursor's row is not among those of ``where``.
    """
    conditions = [*where, *conditions_of(query.filters, fields)]
    keys = _keys(source, fields, query.orders)
    statement = select(source).where(*conditions).limit(query.limit)
    if query.offset:
        statement = statement.offset(query.offset)
    if query.cursor is None:
        order = [func.random()] if query.random else [key.clause() for key in keys]
        rows = list((await connection.execute(statement.order_by(*order))).mappings())
    else:
        rows = await _fetch_from(connection, source, statement, keys, query.cursor, where, query.limit)
    total = await _total(connection, source, conditions, query, len(rows)) if count else 0
    return Page(rows, total)


def _keys(source: FromClause, fields: Mapping[str, Field], orders: Sequence[Order]) -> list[_Key]:
    """Return the parts of the order, the last of which is ``seq`` in the direction of the one before it."""
    keys: list[_Key] = []
    seq = source.c.seq
    for order in orders:
        if order.attribute in ("", SEQUENCE):
            return [*keys, _Key(seq, seq, order.descending)]
        field = fields.get(order.attribute)
        if field is None:
            raise unknown_attribute(order.attribute)
        if field.kind in ("json-array", "opaque"):
            raise InvalidQueryError(f'Invalid query: Cannot order by attribute "{order.attribute}".')
        keys.append(_Key(field.column, operand(field), order.descending))
    # In the same direction, so that an index on the column and seq serves both.
    return [*keys, _Key(seq, seq, bool(keys) and keys[-1].descending)]


async def _fetch_from(
    connection: AsyncConnection,
    source: FromClause,
    statement: Select[Any],
    keys: Sequence[_Key],
    cursor: Cursor,
    where: Sequence[ColumnElement[bool]],
    limit: int,
) -> list[RowMapping]:
    """Return the rows of ``statement``, at most ``limit``, that come after or before the cursor."""
    if cursor.before:
        keys = [key.reversed() for key in keys]
    place = await _find_place(connection, source, keys, cursor, where)
    statement = statement.where(place.beyond).order_by(*(key.clause() for key in keys))
    rows = list((await connection.execute(statement.where(place.reach))).mappings())
    if place.nulls_follow and len(rows) < limit:
        rows = list((await connection.execute(statement)).mappings())
    if cursor.before:
        rows.reverse()
    return rows


async def _find_place(
    connection: AsyncConnection,
    source: FromClause,
    keys: Sequence[_Key],
    cursor: Cursor,
    where: Sequence[ColumnElement[bool]],
) -> _Place:
    """Return where the row of ``cursor`` is in the order of ``keys``."""
    if "id" not in source.c or "\0" in cursor.id:
        raise no_cursor()
    columns = [key.column.label(f"key_{position}") for position, key in enumerate(keys)]
    found = await connection.execute(select(*columns).where(*where, source.c.id == cursor.id).limit(1))
    values = found.first()
    if values is None:
        raise no_cursor()
    beyond: list[ColumnElement[bool]] = []
    level: list[ColumnElement[bool]] = []
    for key, value in zip(keys, values, strict=True):
        beyond.append(and_(true(), *level, key.beyond(value)))
        level.append(key.level(value))
    first, value = keys[0], values[0]
    nulls_follow = first.descending and first.is_nullable and value is not None
    return _Place(or_(*beyond), first.reach(value), nulls_follow)


async def _total(
    connection: AsyncConnection,
    source: FromClause,
    conditions: Sequence[ColumnElement[bool]],
    query: ListQuery,
    shown: int,
) -> int:
    """Count the rows that meet the filters, unless the page says how many there are."""
    if query.cursor is None and shown < query.limit and (shown or not query.offset):
        return min(query.offset + shown, MAX_TOTAL)
    counted = select(literal_column("1")).select_from(source).where(*conditions).limit(MAX_TOTAL).subquery()
    return int((await connection.execute(select(func.count()).select_from(counted))).scalar_one())


def no_cursor() -> CursorNotFoundError:
    """Return the error for a cursor whose resource is not in the list."""
    return CursorNotFoundError(
        "The cursor is invalid. This can happen if the item represented by the cursor has been deleted."
    )
