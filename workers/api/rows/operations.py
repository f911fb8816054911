"""Operations that a transaction holds until it is committed: what they say, and where they are kept."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import msgspec
from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.api.access import Caller
from workers.api.databases.words import VOCABULARIES, Words
from workers.api.errors import bad_request
from workers.api.problems import Problem, refuse
from workers.api.rows.changes import Change, Verb
from workers.api.rows.requests import new_row_id
from workers.store import tables
from workers.store.store import Transaction

BulkVerb = Literal["bulkCreate", "bulkUpdate", "bulkUpsert", "bulkDelete"]

SINGLE_VERBS: tuple[str, ...] = get_args(Verb)
BULK_VERBS: tuple[str, ...] = get_args(BulkVerb)

MAX_OPERATIONS = 100
"""How many operations a transaction of a user may hold."""

MAX_SERVER_OPERATIONS = 1000
"""How many it may hold if an API key adds to it."""


class Operation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change that was staged."""

    verb: Verb | BulkVerb
    vocabulary: str
    """The tag of the words of the API that staged it, in which its event is told."""
    database_id: str
    table_id: str
    at: str = ""
    """When it was staged; a row that others have changed since is a conflict. Set when it is added."""
    is_privileged: bool = False
    """Whether an API key staged it, so that permissions are not asked."""
    row_id: str = ""
    """Empty for bulk operations."""
    data: Any = None
    """Of a single operation, as :class:`~workers.api.rows.changes.Change` has it. Of ``bulkCreate`` and
    ``bulkUpsert`` a list of rows, of the others an object with ``queries``, and ``data`` for ``bulkUpdate``."""
    permissions: Any = None

    @property
    def is_bulk(self) -> bool:
        """Whether it may concern many rows."""
        return self.verb in BULK_VERBS

    @property
    def place(self) -> tuple[str, str, str]:
        """The database, the table and the row."""
        return self.database_id, self.table_id, self.row_id

    @property
    def words(self) -> Words:
        """The words of the API that staged it."""
        return next(words for words in VOCABULARIES if words.tag == self.vocabulary)

    @property
    def change(self) -> Change:
        """What a single operation does to its row."""
        verb: Any = self.verb
        return Change(verb, self.row_id, self.data or {}, self.permissions)


def single_operation(
    change: Change, caller: Caller, words: Words, database_id: str, table_id: str
) -> Operation:
    """Return the operation that stages ``change``."""
    return Operation(
        verb=change.verb,
        vocabulary=words.tag,
        database_id=database_id,
        table_id=table_id,
        is_privileged=caller.is_privileged,
        row_id=change.row_id,
        data=change.data,
        permissions=change.permissions,
    )


def bulk_operation(
    verb: BulkVerb, data: Any, caller: Caller, words: Words, database_id: str, table_id: str
) -> Operation:
    """Return the operation that stages a change to many rows, with ``data`` as :class:`Operation` has it."""
    return Operation(
        verb=verb,
        vocabulary=words.tag,
        database_id=database_id,
        table_id=table_id,
        is_privileged=caller.is_privileged,
        data=data,
    )


def parse_operation(item: Any, caller: Caller, words: Words) -> Operation:
    """Return the operation that an entry of ``operations`` in a request stands for.

    Raises:
        ApiError: 400, it is none; 401, a bulk operation of somebody who is no server.
    """
    if not isinstance(item, dict):
        raise _invalid("Each operation must be an object.")
    verb = item.get("action")
    if verb not in SINGLE_VERBS and verb not in BULK_VERBS:
        raise _invalid(f"Each action must be one of: {', '.join([*SINGLE_VERBS, *BULK_VERBS])}.")
    if verb in BULK_VERBS and not caller.is_privileged:
        raise refuse(Problem.USER_UNAUTHORIZED)
    data = _data(item, verb, words)
    return Operation(
        verb=verb,
        vocabulary=words.tag,
        database_id=_text(item, "databaseId"),
        table_id=_text(item, f"{words.table}Id"),
        is_privileged=caller.is_privileged,
        row_id="" if verb in BULK_VERBS else _row_id(item, verb, words),
        data=data,
        permissions=item.get("permissions", data.get("$permissions") if verb in SINGLE_VERBS else None),
    )


async def load_operations(
    connection: AsyncConnection, project_id: str, transaction_id: str
) -> list[Operation]:
    """Return what a transaction holds, in order."""
    table = tables.operations
    found = await connection.execute(
        select(table.c.operation)
        .where(table.c.project_id == project_id, table.c.transaction_id == transaction_id)
        .order_by(table.c.seq)
    )
    return [msgspec.convert(operation, Operation) for (operation,) in found]


async def append_operations(
    tx: Transaction, transaction: RowMapping, operations: Sequence[Operation], caller: Caller
) -> dict[str, Any]:
    """Add to what a transaction holds, which is locked; return its row as it is then.

    Raises:
        ApiError: 400 ``transaction_limit_exceeded``.
    """
    count = transaction["operations"] + len(operations)
    if count > (MAX_SERVER_OPERATIONS if caller.is_privileged else MAX_OPERATIONS):
        raise refuse(Problem.TRANSACTION_LIMIT)
    changes = {"operations": count, "updated_at": tx.now_text}
    await tx.connection.execute(
        tables.transactions.update().where(tables.transactions.c.seq == transaction["seq"]).values(changes)
    )
    await tx.connection.execute(
        tables.operations.insert(),
        [
            {
                "project_id": tx.project.id,
                "transaction_id": transaction["id"],
                "operation": msgspec.to_builtins(operation) | {"at": tx.now_text},
            }
            for operation in operations
        ],
    )
    return dict(transaction) | changes


def _text(item: Mapping[str, Any], name: str) -> str:
    value = item.get(name)
    if not isinstance(value, str) or not value:
        raise _invalid(f"Each operation must have {name}.")
    return value


def _row_id(item: Mapping[str, Any], verb: str, words: Words) -> str:
    name = f"{words.row}Id"
    return new_row_id(item.get(name), name) if verb in ("create", "upsert") else _text(item, name)


def _data(item: Mapping[str, Any], verb: str, words: Words) -> Any:
    data = item.get("data")
    if verb in ("bulkCreate", "bulkUpsert"):
        return data
    if data is None and verb == "delete":
        return {}
    if not isinstance(data, dict):
        raise _invalid(f"The data of {verb} must be an object.")
    if verb in ("increment", "decrement"):
        bound = data.get("max" if verb == "increment" else "min")
        return {"column": data.get(words.column), "value": data.get("value", 1), "bound": bound}
    return data


def _invalid(reason: str) -> Exception:
    return bad_request(f"Invalid `operations` param: {reason}")
