"""A table that somebody works on: what the rows of it are, and what the caller may do to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from workers.api.access import Caller
from workers.api.databases.lookup import known_table
from workers.api.databases.words import Words
from workers.api.granting import grant
from workers.api.params import is_resource_id
from workers.api.permissions import Action, may
from workers.api.problems import Problem, refuse
from workers.api.rows.structure import row_model
from workers.models.rows import StoredRow
from workers.store.schema import TableRecord


@dataclass(frozen=True, slots=True)
class OpenTable:
    """A table, for one caller and in one vocabulary."""

    record: TableRecord
    caller: Caller
    words: Words

    def allows(self, action: Action, row: StoredRow | None = None) -> bool:
        """Tell whether the caller may do ``action`` to ``row``, or to every row if none is given."""
        if self.caller.is_privileged:
            return True
        return may(
            action,
            self.caller.roles,
            container=self.record.permissions,
            item=() if row is None else row["permissions"],
            item_security=self.record.row_security,
        )

    def require(self, action: Action, row: StoredRow | None = None) -> None:
        """Refuse the caller who may not do ``action`` to ``row``.

        Raises:
            ApiError: 401 ``user_unauthorized``; 404 if the caller may not even know that the row is there.
        """
        if self.allows(action, row):
            return
        if row is not None and not self.allows("read", row):
            raise self.words.row_not_found()
        raise refuse(Problem.USER_UNAUTHORIZED)

    def grant(self, given: Any) -> list[str]:
        """Return the permissions that a request gives a row, as the row keeps them; the creator's own for None.

        Raises:
            ApiError: 401 ``user_unauthorized``, a user grants them to roles that they do not hold.
            InvalidPermissionError: they are malformed.
        """
        return grant(self.caller, given)

    def model(self, row: StoredRow) -> dict[str, Any]:
        """Return a row as the API shows it."""
        return row_model(self.record, self.words, row)

    def event_permissions(self, row: StoredRow) -> Sequence[str]:
        """Return the permissions that decide who receives an event of ``row`` (wire specification 5.4)."""
        if self.record.row_security:
            return [*self.record.permissions, *row["permissions"]]
        return self.record.permissions


async def open_table(
    connection: AsyncConnection, caller: Caller, words: Words, database_id: str, table_id: str
) -> OpenTable:
    """Find a table for ``caller``.

    Raises:
        ApiError: 404 for a database or table that is not there, or is disabled and the caller is no server.
    """
    if not is_resource_id(database_id):
        raise refuse(Problem.DATABASE_NOT_FOUND)
    if not is_resource_id(table_id):
        raise words.table_not_found()
    record = await known_table(connection, caller.project, database_id, table_id, words=words)
    if not record.enabled and not caller.is_privileged:
        raise words.table_not_found() if record.database_enabled else refuse(Problem.DATABASE_NOT_FOUND)
    return OpenTable(record, caller, words)
