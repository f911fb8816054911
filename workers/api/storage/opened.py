"""A bucket that somebody works on: what the caller may do to it and to the files in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.expression import exists

from realtime.permissions import ANY
from workers.api.access import Caller
from workers.api.permissions import Action, may
from workers.api.problems import Problem, refuse
from workers.models.people import Row
from workers.store.dialects import is_among
from workers.store.tables import file_permissions, files


@dataclass(frozen=True, slots=True)
class OpenBucket:
    """A bucket, for one caller."""

    row: Row
    caller: Caller

    @property
    def id(self) -> str:
        """The ID of the bucket."""
        bucket_id: str = self.row["id"]
        return bucket_id

    @property
    def seq(self) -> int:
        """The number of the bucket, which no other one ever has."""
        seq: int = self.row["seq"]
        return seq

    def allows(self, action: Action, file: Row | None = None) -> bool:
        """Tell whether the caller may do ``action`` to ``file``, or to every file if none is given."""
        if self.caller.is_privileged:
            return True
        return may(
            action,
            self.caller.roles,
            container=self.row["permissions"],
            item=() if file is None else file["permissions"],
            item_security=self.row["file_security"],
        )

    def require(self, action: Action, file: Row | None = None) -> None:
        """Refuse the caller who may not do ``action`` to ``file``.

        Raises:
            ApiError: 401 ``user_unauthorized``; 404 if the caller may not even know that the file is there.
        """
        if self.allows(action, file):
            return
        if file is not None and not self.allows("read", file):
            raise refuse(Problem.FILE_NOT_FOUND)
        raise refuse(Problem.USER_UNAUTHORIZED)

    def readable(self) -> list[ColumnElement[bool]]:
        """Return the conditions in SQL that a file is in the bucket and that the caller may read it.

        Raises:
            ApiError: 401 ``user_unauthorized``, no file may be read.
        """
        inside = [files.c.project_id == self.caller.project.id, files.c.bucket_seq == self.seq]
        if self.allows("read"):
            return inside
        if not self.row["file_security"]:
            raise refuse(Problem.USER_UNAUTHORIZED)
        granted = exists().where(
            # Named again, so that whoever may read few of many files has them found by an index.
            file_permissions.c.project_id == self.caller.project.id,
            file_permissions.c.bucket_seq == self.seq,
            file_permissions.c.file_seq == files.c.seq,
            file_permissions.c.action == "read",
            is_among(file_permissions.c.role, [ANY, *sorted(self.caller.roles)]),
        )
        return [*inside, granted]

    def event_permissions(self, file: Row) -> Sequence[str]:
        """Return the permissions that decide who receives an event of ``file`` (wire specification 5.4)."""
        permissions: list[Any] = self.row["permissions"]
        return [*permissions, *file["permissions"]] if self.row["file_security"] else permissions
