"""Which table a request is about, who makes it, and the ways to read and to change that table's schema."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from fastapi import Depends
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request

from realtime.events.event import Event
from workers.api.access import Caller, requires
from workers.api.databases.lookup import find_table, require_database
from workers.api.databases.words import Words, words_of
from workers.api.services import services_of
from workers.store.schema import Schema, TableRecord, encode_schema
from workers.store.store import Store, Transaction
from workers.store.tables import tables


@dataclass(frozen=True, slots=True)
class Place:
    """A table that a request is about."""

    store: Store
    caller: Caller
    words: Words
    database_id: str
    table_id: str

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[TableRecord]:
        """Read the table.

        Raises:
            ApiError: 404, the database or the table is not there.
        """
        async with self.store.read() as connection:
            yield await self._find(connection)

    @contextlib.asynccontextmanager
    async def changing(self, *, lock_database: bool = False) -> AsyncIterator["SchemaChange"]:
        """Open a transaction that changes the table, which is locked until it ends.

        Args:
            lock_database: whether no table of the database may come or go meanwhile.

        Raises:
            ApiError: 404, the database or the table is not there.
        """
        async with self.store.write(self.caller.project) as tx:
            if lock_database:
                await require_database(tx.connection, self.caller.project.id, self.database_id, lock=True)
            yield SchemaChange(tx, await self._find(tx.connection, lock=True), self.words)

    async def _find(self, connection: AsyncConnection, *, lock: bool = False) -> TableRecord:
        return await find_table(
            connection,
            self.caller.project.id,
            self.database_id,
            self.table_id,
            words=self.words,
            lock=lock,
        )


class SchemaChange:
    """A change of one table that is being made. Used by one task, within its transaction."""

    def __init__(self, tx: Transaction, record: TableRecord, words: Words) -> None:
        self.tx = tx
        # The table as the transaction has it by now.
        self.record = record
        self._words = words

    @property
    def connection(self) -> AsyncConnection:
        """What statements are executed on."""
        return self.tx.connection

    async def store(self, schema: Schema) -> None:
        """Make ``schema`` that of the table. Its SQL table is for the caller to change."""
        await self.update({"schema": schema})

    async def update(self, changes: Mapping[str, Any]) -> None:
        """Change columns of the table's row, and when it was changed."""
        values: dict[str, Any] = {**changes, "updated_at": self.tx.now_text}
        written = dict(values)
        if "schema" in written:
            written["schema"] = encode_schema(written["schema"])
        await self.connection.execute(update(tables).where(tables.c.seq == self.record.seq).values(**written))
        await self.tx.change_schema()
        if "enabled" in values:
            values["table_enabled"] = values.pop("enabled")
        if "permissions" in values:
            values["permissions"] = tuple(values["permissions"])
        self.record = msgspec.structs.replace(self.record, **values)

    def emit(self, action: str, payload: Mapping[str, Any]) -> None:
        """Record that something happened to the table, with its model."""
        emit_table(self.tx, self.record, self._words, action, payload)

    def emit_column(self, action: str, payload: Mapping[str, Any]) -> None:
        """Record that something happened to a column, with its model."""
        word = self._words.column
        suffix = f"{self._words.columns}.[{word}Id].{action}"
        emit_table(self.tx, self.record, self._words, suffix, payload, **{f"{word}Id": payload["key"]})

    def emit_index(self, action: str, payload: Mapping[str, Any]) -> None:
        """Record that something happened to an index, with its model."""
        emit_table(
            self.tx, self.record, self._words, f"indexes.[indexId].{action}", payload, indexId=payload["key"]
        )


def emit_table(
    tx: Transaction, record: TableRecord, words: Words, suffix: str, payload: Mapping[str, Any], **ids: str
) -> None:
    """Record that something happened to a table, or to a part of it.

    Args:
        tx: the change.
        record: the table.
        words: the vocabulary that was called.
        suffix: what follows the table in the event's pattern, such as ``create``.
        payload: the model.
        ids: the values of the placeholders in ``suffix``.
    """
    params = {"databaseId": record.database_id, f"{words.table}Id": record.id, **ids}
    tx.emit(
        Event(f"{words.table_pattern}.{suffix}", payload, params=params, database_type=record.database_type)
    )


def place(scope: str) -> Callable[..., Awaitable[Place]]:
    """Return the dependency that finds out which table a request is about, for callers with ``scope``."""

    async def find(
        request: Request, databaseId: str, tableId: str, caller: Annotated[Caller, Depends(requires(scope))]
    ) -> Place:
        return Place(services_of(request).store, caller, words_of(request), databaseId, tableId)

    return find
