"""Databases and tables found by their IDs, or refused."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.identity.model import Project
from workers.api.databases.words import Words
from workers.api.problems import Problem, refuse
from workers.store.schema import Column, TableRecord, decode_schema
from workers.store.tables import databases, tables

TABLE = select(
    tables.c.project_id,
    tables.c.seq,
    tables.c.id,
    tables.c.name,
    tables.c.database_id,
    databases.c.type.label("database_type"),
    tables.c.enabled,
    databases.c.enabled.label("database_enabled"),
    tables.c.row_security,
    tables.c.permissions,
    tables.c.created_at,
    tables.c.updated_at,
    tables.c.schema,
).join(
    databases,
    (databases.c.project_id == tables.c.project_id) & (databases.c.id == tables.c.database_id),
)
"""Tables with what a record takes of their databases; narrowed by whoever executes it."""

# Made once: every request about a row begins with it.
_FIND = TABLE.where(
    tables.c.project_id == bindparam("in_project"),
    tables.c.database_id == bindparam("in_database"),
    tables.c.id == bindparam("table"),
)
_LOCK = _FIND.with_for_update(of=tables)


_KNOWN = "realtime_tables"
"""Where a connection to the database keeps the tables that were found through it."""

_KNOWN_LINKS = "realtime_links"
"""Where it keeps which columns lead to which tables."""

_MAX_KNOWN = 1_000

Links = Mapping[str, Sequence[tuple[TableRecord, Column]]]
"""The relationships to each table, by its ID: the table that has the column, and the column."""


async def require_database(
    connection: AsyncConnection, project_id: str, database_id: str, *, lock: bool = False
) -> RowMapping:
    """Return the row of a database; ``lock`` it against being changed or deleted by others.

    Raises:
        ApiError: 404 ``database_not_found``.
    """
    statement = select(databases).where(databases.c.project_id == project_id, databases.c.id == database_id)
    found = await connection.execute(statement.with_for_update() if lock else statement)
    row = found.mappings().one_or_none()
    if row is None:
        raise refuse(Problem.DATABASE_NOT_FOUND)
    return row


async def find_table(
    connection: AsyncConnection,
    project_id: str,
    database_id: str,
    table_id: str,
    *,
    words: Words,
    lock: bool = False,
) -> TableRecord:
    """Return a table with its schema, in one statement; ``lock`` it before its schema is changed.

    Raises:
        ApiError: 404 ``database_not_found``, or ``table_not_found`` in the words of the API that was called.
    """
    place = {"in_project": project_id, "in_database": database_id, "table": table_id}
    found = await connection.execute(_LOCK if lock else _FIND, place)
    row = found.mappings().one_or_none()
    if row is None:
        await require_database(connection, project_id, database_id)
        raise words.table_not_found()
    return table_record(row)


async def known_table(
    connection: AsyncConnection, project: Project, database_id: str, table_id: str, *, words: Words
) -> TableRecord:
    """Return a table as :func:`find_table` does, without a statement where that can be helped.

    What was found is kept with the connection for as long as no table of the project changes. The project's record says
    so, which was read for this request (benchmark: ``benchmarks/api.py``). Not for changing the table.

    Raises:
        ApiError: what :func:`find_table` raises.
    """
    known: dict[tuple[str, str, str], tuple[int, TableRecord]] = connection.info.setdefault(_KNOWN, {})
    key = (project.id, database_id, table_id)
    version, record = known.get(key, (None, None))
    if record is None or version != project.schema_version:
        if len(known) >= _MAX_KNOWN:
            known.clear()
        record = await find_table(connection, project.id, database_id, table_id, words=words)
        known[key] = (project.schema_version, record)
    return record


async def known_links(connection: AsyncConnection, project: Project, database_id: str) -> Links:
    """Return which columns of a database lead to its tables, kept like those of :func:`known_table`."""
    known: dict[tuple[str, str], tuple[int, Links]] = connection.info.setdefault(_KNOWN_LINKS, {})
    key = (project.id, database_id)
    version, links = known.get(key, (None, None))
    if links is None or version != project.schema_version:
        if len(known) >= _MAX_KNOWN:
            known.clear()
        links = await _find_links(connection, project.id, database_id)
        known[key] = (project.schema_version, links)
    return links


async def _find_links(connection: AsyncConnection, project_id: str, database_id: str) -> Links:
    own = TABLE.where(tables.c.project_id == project_id, tables.c.database_id == database_id)
    found = await connection.execute(own.order_by(tables.c.seq))
    links: dict[str, list[tuple[TableRecord, Column]]] = defaultdict(list)
    for record in map(table_record, found.mappings()):
        for column in record.schema.columns:
            if column.relation is not None:
                links[column.relation.related_table_id].append((record, column))
    return links


def table_record(row: RowMapping) -> TableRecord:
    """Return the record of a row with the columns of a :class:`TableRecord`."""
    members: dict[str, Any] = dict(row)
    del members["project_id"]
    members["permissions"] = tuple(members["permissions"])
    members["schema"] = decode_schema(members["schema"])
    members["table_enabled"] = members.pop("enabled")
    return TableRecord(**members)
