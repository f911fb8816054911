"""Transactions at work: changes are staged, shown as if they were made, and made together.

A staged change is judged at once, on the row as the operations before it leave it, without writing the row; so it is
answered like any other. It is judged again when the transaction is committed, as the one who staged it. Not judged
before the commit: unique indexes, related rows, and bulk operations.
"""

import contextlib
import dataclasses
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.identity.model import GUEST, Identity
from workers.api.access import USER_SCOPES, Caller, CallerKind
from workers.api.errors import ApiError
from workers.api.problems import Problem, refuse
from workers.api.rows import bulk
from workers.api.rows.changes import Row, answer, apply
from workers.api.rows.opened import OpenTable, open_table
from workers.api.rows.operations import Operation, append_operations, load_operations
from workers.api.rows.statements import find_row, find_rows
from workers.api.rows.writes import emit, store
from workers.api.services import Services
from workers.store import tables
from workers.store.schema import TableRecord
from workers.store.store import Transaction
from workers.store.times import to_text

_Key = tuple[str, str, str, bool]
"""The database and the table of an operation, its vocabulary, and whether an API key staged it."""

_COMMUTES = frozenset({"create", "increment", "decrement"})
"""What does not depend on the row being as it was when the operation was staged."""


@dataclasses.dataclass(frozen=True, slots=True)
class Actors:
    """On whose behalf the operations of a transaction are judged."""

    server: Caller
    opener: Caller

    def of(self, operation: Operation) -> Caller:
        """Return who staged ``operation``."""
        return self.server if operation.is_privileged else self.opener


async def find_transaction(
    connection: AsyncConnection, caller: Caller, transaction_id: str, *, lock: bool = False
) -> RowMapping:
    """Return the row of a transaction: users have their own, API keys all of the project.

    Raises:
        ApiError: 404 ``transaction_not_found``.
    """
    table = tables.transactions
    statement = select(table).where(table.c.project_id == caller.project.id, table.c.id == transaction_id)
    if not caller.is_privileged:
        statement = statement.where(table.c.user_id == caller.user_id, table.c.user_id != "")
    found = await connection.execute(statement.with_for_update() if lock else statement)
    row = found.mappings().one_or_none()
    if row is None:
        raise refuse(Problem.TRANSACTION_NOT_FOUND)
    return row


async def require_pending(tx: Transaction, caller: Caller, transaction_id: str) -> RowMapping:
    """Return the row of a transaction that is still open, locked.

    Raises:
        ApiError: 404; 410 ``transaction_expired``; 400 ``transaction_not_ready`` once it has ended.
    """
    row = await find_transaction(tx.connection, caller, transaction_id, lock=True)
    if row["status"] != "pending":
        raise refuse(Problem.TRANSACTION_NOT_READY, reason=f"it is {row['status']}.")
    if row["expires_at"] <= to_text(tx.now):
        raise refuse(Problem.TRANSACTION_EXPIRED)
    return row


async def stage(
    services: Services, caller: Caller, transaction_id: str, operations: Sequence[Operation]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Add operations to a transaction.

    Returns:
        The row of the transaction, and for each single operation the model of its row as the operation leaves it; for
        one that deletes it, as it was.

    Raises:
        ApiError: the transaction is not open or full, or what the operations would be refused for.
        InvalidPermissionError: permissions are malformed.
    """
    async with services.store.write(caller.project) as tx:
        transaction = await require_pending(tx, caller, transaction_id)
        actors = await find_actors(services, caller, transaction)
        earlier = await load_operations(tx.connection, caller.project.id, transaction_id)
        preview = _Preview(tx, actors, earlier)
        models = [await preview.add(operation, caller) for operation in operations if not operation.is_bulk]
        return await append_operations(tx, transaction, operations, caller), models


async def find_actors(services: Services, caller: Caller, transaction: RowMapping) -> Actors:
    """Return on whose behalf the operations of ``transaction`` are judged, with the roles of this moment."""
    server = Caller(caller.project, CallerKind.KEY, GUEST, frozenset())
    user_id = transaction["user_id"]
    if not user_id or user_id == caller.user_id:
        return Actors(server, caller)
    user = await services.identities.get_user(caller.project.id, user_id)
    identity = GUEST if user is None else Identity(roles=user.roles(), user_id=user_id)
    return Actors(server, Caller(caller.project, CallerKind.USER, identity, USER_SCOPES))


async def replay(tx: Transaction, actors: Actors, operations: Sequence[Operation], *, tells: bool) -> None:
    """Make the changes of ``operations``, in order; with the events of single ones if it ``tells``.

    Bulk operations fire no events, and an upsert that of an update (wire specification 9.4).

    Raises:
        ApiError: 409 ``transaction_conflict`` for a row that others have changed, made or deleted since, or a
            unique value that is taken; what else the operations are refused for.
    """
    opened = await _open_tables(tx, actors, operations)
    await _lock_rows(tx, opened, operations)
    touched: set[tuple[int, str]] = set()
    for operation in operations:
        table = opened[_key(operation)]
        try:
            if operation.is_bulk:
                touched |= await _replay_bulk(tx, table, operation)
            else:
                await _replay_single(tx, table, operation, touched, tells=tells)
        except ApiError as error:
            if error.status in (404, 409):
                raise refuse(Problem.TRANSACTION_CONFLICT) from error
            raise


@contextlib.asynccontextmanager
async def reading(services: Services, caller: Caller, transaction_id: str) -> AsyncIterator[AsyncConnection]:
    """Open a transaction that only reads; of ``transaction_id``, unless empty, it sees the staged changes.

    These are made and undone again, so reading costs as much as committing would.

    Raises:
        ApiError: the transaction is not open, or could not be committed.
    """
    if not transaction_id:
        async with services.store.read() as connection:
            yield connection
        return
    async with services.store.write(caller.project) as tx:
        transaction = await require_pending(tx, caller, transaction_id)
        actors = await find_actors(services, caller, transaction)
        operations = await load_operations(tx.connection, caller.project.id, transaction_id)
        savepoint = await tx.connection.begin_nested()
        await replay(tx, actors, operations, tells=False)
        yield tx.connection
        await savepoint.rollback()


class _Preview:
    """Rows as the operations of a transaction leave them, without writing them."""

    def __init__(self, tx: Transaction, actors: Actors, earlier: Sequence[Operation]) -> None:
        self._tx = tx
        self._actors = actors
        # By the row that they are about.
        self._earlier: defaultdict[tuple[str, str, str], list[Operation]] = defaultdict(list)
        for operation in earlier:
            if not operation.is_bulk:
                self._earlier[operation.place].append(operation)
        # By table and row; None for one that is not there.
        self._rows: dict[tuple[int, str], Row | None] = {}

    async def add(self, operation: Operation, caller: Caller) -> dict[str, Any]:
        """Judge an operation of ``caller``, and return the model, for them, of what it makes of its row."""
        table = await open_table(
            self._tx.connection, caller, operation.words, operation.database_id, operation.table_id
        )
        key = (table.record.seq, operation.row_id)
        if key not in self._rows:
            self._rows[key] = await self._replayed(table, operation.row_id)
        old = self._rows[key]
        row = apply(table, operation.change, old, self._tx.now_text)
        self._rows[key] = None if operation.verb == "delete" else row
        return answer(table, operation.change, old, row, table.model(row))

    async def _replayed(self, table: OpenTable, row_id: str) -> Row | None:
        row = await find_row(self._tx.connection, table.record, row_id)
        for operation in self._earlier[table.record.database_id, table.record.id, row_id]:
            judged = dataclasses.replace(table, caller=self._actors.of(operation))
            after = apply(judged, operation.change, row, operation.at)
            row = None if operation.verb == "delete" else after
        return row


def _key(operation: Operation) -> _Key:
    return operation.database_id, operation.table_id, operation.vocabulary, operation.is_privileged


async def _open_tables(
    tx: Transaction, actors: Actors, operations: Sequence[Operation]
) -> dict[_Key, OpenTable]:
    """Return the tables of ``operations``, each for those who staged something there."""
    opened: dict[_Key, OpenTable] = {}
    for operation in operations:
        key = _key(operation)
        if key not in opened:
            opened[key] = await open_table(tx.connection, actors.of(operation), operation.words, *key[:2])
    return opened


async def _lock_rows(
    tx: Transaction, opened: Mapping[_Key, OpenTable], operations: Sequence[Operation]
) -> None:
    """Lock the rows of single operations in one order for everybody, whatever order they were staged in.

    Two transactions with the same rows then come one after the other, and never wait for each other.
    """
    records: dict[int, TableRecord] = {}
    rows: defaultdict[int, set[str]] = defaultdict(set)
    for operation in operations:
        if not operation.is_bulk:
            record = opened[_key(operation)].record
            records[record.seq] = record
            rows[record.seq].add(operation.row_id)
    for seq in sorted(rows):
        await find_rows(tx.connection, records[seq], rows[seq], lock=True)


async def _replay_single(
    tx: Transaction, table: OpenTable, operation: Operation, touched: set[tuple[int, str]], *, tells: bool
) -> None:
    change = operation.change
    old = await find_row(tx.connection, table.record, change.row_id, lock=True)
    key = (table.record.seq, change.row_id)
    is_foreign = old is not None and key not in touched and old["updated_at"] > operation.at
    if is_foreign and change.verb not in _COMMUTES:
        raise refuse(Problem.TRANSACTION_CONFLICT)
    row = apply(table, change, old, tx.now_text)
    await store(tx, table, change.verb, old, row, tells=tells)
    touched.add(key)
    if tells:
        emit(tx, table, change.verb if change.verb in ("create", "delete") else "update", row)


async def _replay_bulk(tx: Transaction, table: OpenTable, operation: Operation) -> set[tuple[int, str]]:
    """Make the changes of a bulk operation; return the rows that it touched."""
    match operation.verb:
        case "bulkCreate":
            models = await bulk.create_many(tx, table, operation.data, tells=False)
        case "bulkUpsert":
            models = await bulk.upsert_many(tx, table, operation.data, tells=False)
        case "bulkUpdate":
            models = await bulk.update_many(
                tx, table, operation.data.get("data"), operation.data.get("queries"), tells=False
            )
        case _:
            models = await bulk.delete_many(tx, table, operation.data.get("queries"), tells=False)
    return {(table.record.seq, model["$id"]) for model in models}
