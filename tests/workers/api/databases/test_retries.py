"""Requests that meet a change of their table, before they begin to read it or in the midst of that."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from realtime.identity.model import Project
from tests.api import PROJECT, Api, until_blocked
from workers.api.databases.definitions import remove_column
from workers.api.databases.lookup import find_table
from workers.api.databases.place import SchemaChange
from workers.api.databases.words import TABLES
from workers.store import tables
from workers.store.outbox import append
from workers.store.row_tables import drop_row_column, drop_row_tables, rows_table
from workers.store.store import Transaction

AddColumn = Callable[..., Awaitable[dict[str, Any]]]


@contextlib.asynccontextmanager
async def unnoticed(api: Api) -> AsyncIterator[Transaction]:
    """Open a transaction that nobody has heard of when a request comes just after it."""
    async with api.services.store.database.writing() as connection:
        tx = Transaction(connection, Project(id=PROJECT), datetime.now(UTC))
        yield tx
        await append(connection, tx.recorded)


class TestRequestAfterAChange:
    """What a request was told of the table before is no longer so when it begins to read."""

    async def make_known(self, api: Api, rows: str) -> None:
        """Have every connection know the table."""
        for _ in range(api.services.store.database.pool_size):
            assert (await api.server.get(rows)).json()["total"] == 0

    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_column_that_is_gone_is_unknown(
        self, api: Api, posts: str, add_column: AddColumn, method: str
    ) -> None:
        await add_column("string", "title", size=10)
        await self.make_known(api, f"{posts}/rows")
        async with unnoticed(api) as tx:
            record = await find_table(tx.connection, PROJECT, "main", "posts", words=TABLES)
            schema, _ = remove_column(record.schema, record.schema.columns[0])
            await SchemaChange(tx, record, TABLES).store(schema)
            await drop_row_column(tx.connection, record, record.schema.columns[0])
        row = {"rowId": "one", "data": {"title": "x"}}
        answer = await api.server.request(method, f"{posts}/rows", json=row)
        if method == "GET":
            assert answer.json() == {"total": 0, "rows": []}
        else:
            assert (answer.status_code, answer.json()["type"]) == (400, "row_invalid_structure")

    async def test_table_that_is_gone_is_not_found(self, api: Api, posts: str) -> None:
        await self.make_known(api, f"{posts}/rows")
        async with unnoticed(api) as tx:
            record = await find_table(tx.connection, PROJECT, "main", "posts", words=TABLES)
            await tx.connection.execute(sa.delete(tables.tables).where(tables.tables.c.seq == record.seq))
            await drop_row_tables(tx.connection, [record.seq])
            await tx.change_schema()
        answer = await api.server.get(f"{posts}/rows")
        assert (answer.status_code, answer.json()["type"]) == (404, "table_not_found")


# A transaction of SQLite sees one state of the schema.
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
class TestRequestDuringAChange:
    async def test_column_that_goes_meanwhile_is_unknown(
        self, api: Api, posts: str, add_column: AddColumn
    ) -> None:
        await add_column("string", "title", size=10)
        row = {"rowId": "one", "data": {"title": "x"}}
        # From here on the table is known to the connection.
        assert (await api.server.get(f"{posts}/rows")).json()["total"] == 0
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            record = await find_table(tx.connection, PROJECT, "main", "posts", words=TABLES)
            schema, _ = remove_column(record.schema, record.schema.columns[0])
            await SchemaChange(tx, record, TABLES).store(schema)
            await drop_row_column(tx.connection, record, record.schema.columns[0])
            create = asyncio.create_task(api.server.post(f"{posts}/rows", json=row))
            await until_blocked(api)
        answer = await create
        assert (answer.status_code, answer.json()["type"]) == (400, "row_invalid_structure")

    async def test_table_that_goes_meanwhile_is_not_found(
        self, api: Api, posts: str, add_column: AddColumn
    ) -> None:
        await add_column("string", "title", size=10)
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            record = await find_table(tx.connection, PROJECT, "main", "posts", words=TABLES)
            await tx.connection.execute(sa.delete(tables.tables).where(tables.tables.c.seq == record.seq))
            await drop_row_tables(tx.connection, [record.seq])
            await tx.change_schema()
            read = asyncio.create_task(api.server.get(f"{posts}/rows"))
            await until_blocked(api)
        answer = await read
        assert (answer.status_code, answer.json()["type"]) == (404, "table_not_found")

    async def test_change_of_a_table_that_another_one_waits_for_is_made_once_that_is_done(
        self, api: Api, posts: str
    ) -> None:
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            # Of the two that wait for each other, it is the request that is ended.
            await tx.connection.execute(sa.text("SET LOCAL deadlock_timeout = '10s'"))
            record = await find_table(tx.connection, PROJECT, "main", "posts", words=TABLES)
            await tx.connection.execute(sa.select(rows_table(record)))
            deletion = asyncio.create_task(api.server.delete(posts))
            await until_blocked(api)
            await find_table(tx.connection, PROJECT, "main", "posts", words=TABLES, lock=True)
        assert (await deletion).status_code == 204
