"""Rows in SQL: found, inserted, changed and deleted, together with their permissions.

A row is a dict by the names of its SQL columns (:data:`workers.models.rows.StoredRow`). Statements that are the same
for every request are made once a table.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.api.permissions import pairs
from workers.store.row_tables import perms_table, rows_table
from workers.store.schema import TableRecord

_CHUNK = 500
"""How many rows one statement names; SQLite and PostgreSQL both have a bound on parameters."""


class _Statements(NamedTuple):
    """Statements on one SQL table of rows."""

    find: sa.Select[Any]
    lock: sa.Select[Any]
    insert: sa.Insert


@lru_cache(maxsize=1024)
def _statements(rows: sa.Table) -> _Statements:
    find = sa.select(rows).where(rows.c.id == sa.bindparam("row_id"))
    return _Statements(find, find.with_for_update(), rows.insert().returning(rows.c.seq))


async def find_row(
    connection: AsyncConnection, table: TableRecord, row_id: str, *, lock: bool = False
) -> dict[str, Any] | None:
    """Return a row; ``lock`` it against being changed by others. None when there is none."""
    statements = _statements(rows_table(table))
    found = await connection.execute(statements.lock if lock else statements.find, {"row_id": row_id})
    row = found.mappings().one_or_none()
    return None if row is None else dict(row)


async def find_rows(
    connection: AsyncConnection,
    table: TableRecord,
    row_ids: Collection[str],
    *,
    lock: bool = False,
    where: Sequence[sa.ColumnElement[bool]] = (),
) -> dict[str, dict[str, Any]]:
    """Return those of the rows that are there, by their IDs.

    Args:
        connection: what to read on.
        table: whose rows.
        row_ids: their IDs, as many as there may be.
        lock: whether to keep others from changing them.
        where: what they have to meet besides; of rows that are locked, when they are locked.
    """
    rows = rows_table(table)
    ids = sorted(set(row_ids))
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(ids), _CHUNK):
        # In one order for everybody and across statements, so that two that lock rows never wait for each other.
        chunk = ids[start : start + _CHUNK]
        statement = sa.select(rows).where(rows.c.id.in_(chunk), *where).order_by(rows.c.id)
        result = await connection.execute(statement.with_for_update() if lock else statement)
        found |= {row["id"]: dict(row) for row in result.mappings()}
    return found


async def keep_rows(
    connection: AsyncConnection, table: TableRecord, row_ids: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Return those of the rows that are there, with their permissions alone; others cannot delete them now.

    Several may keep the same row.
    """
    rows = rows_table(table)
    ids = sorted(set(row_ids))
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(ids), _CHUNK):
        statement = sa.select(rows.c.id, rows.c.permissions).where(rows.c.id.in_(ids[start : start + _CHUNK]))
        kept = statement.order_by(rows.c.id).with_for_update(read=True, key_share=True)
        found |= {row["id"]: dict(row) for row in (await connection.execute(kept)).mappings()}
    return found


async def insert_row(connection: AsyncConnection, table: TableRecord, row: Mapping[str, Any]) -> int:
    """Insert a row, without ``seq``, and return the ``seq`` that it got.

    Raises:
        sqlalchemy.exc.IntegrityError: the ID or a value of a unique index is taken.
    """
    inserted = await connection.execute(_statements(rows_table(table)).insert, row)
    seq: int = inserted.scalar_one()
    await _insert_permissions(connection, table, [(seq, row["permissions"])])
    return seq


async def insert_rows(
    connection: AsyncConnection, table: TableRecord, new: Sequence[Mapping[str, Any]]
) -> list[int]:
    """Insert rows, without ``seq``, and return what each of them got as its ``seq``.

    Raises:
        sqlalchemy.exc.IntegrityError: an ID or a value of a unique index is taken.
    """
    rows = rows_table(table)
    statement = rows.insert().returning(rows.c.seq, sort_by_parameter_order=True)
    seqs = list((await connection.execute(statement, list(new))).scalars())
    permissions = [(seq, row["permissions"]) for seq, row in zip(seqs, new, strict=True)]
    await _insert_permissions(connection, table, permissions)
    return seqs


async def update_rows(
    connection: AsyncConnection, table: TableRecord, seqs: Sequence[int], values: Mapping[str, Any]
) -> None:
    """Give the rows with these ``seq`` the same ``values``, by the names of SQL columns.

    Raises:
        sqlalchemy.exc.IntegrityError: a value of a unique index is taken.
    """
    rows, perms = rows_table(table), perms_table(table)
    for start in range(0, len(seqs), _CHUNK):
        chunk = seqs[start : start + _CHUNK]
        await connection.execute(rows.update().where(rows.c.seq.in_(chunk)).values(values))
        if "permissions" in values:
            await connection.execute(perms.delete().where(perms.c.row_seq.in_(chunk)))
            await _insert_permissions(connection, table, [(seq, values["permissions"]) for seq in chunk])


async def delete_rows(connection: AsyncConnection, table: TableRecord, seqs: Sequence[int]) -> None:
    """Delete the rows with these ``seq``, and their permissions."""
    rows, perms = rows_table(table), perms_table(table)
    for start in range(0, len(seqs), _CHUNK):
        chunk = seqs[start : start + _CHUNK]
        await connection.execute(rows.delete().where(rows.c.seq.in_(chunk)))
        await connection.execute(perms.delete().where(perms.c.row_seq.in_(chunk)))


async def _insert_permissions(
    connection: AsyncConnection, table: TableRecord, permissions: Iterable[tuple[int, Sequence[str]]]
) -> None:
    """Insert the permissions of rows, given by their ``seq``; they must not have any."""
    records = [
        {"row_seq": seq, "action": action, "role": role}
        for seq, texts in permissions
        for action, role in pairs(texts)
    ]
    if records:
        await connection.execute(perms_table(table).insert(), records)
