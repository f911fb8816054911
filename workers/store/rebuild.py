"""Making the read models anew from SQL, while everything runs: identities and triggers.

Page by page, each under the relay's lock of its project: what is written is what SQL has at that moment, and no relay
writes in between. So at the end, and at any moment on the way, nothing is in the read model that SQL never had.

Only projects that SQL has are touched. What a backend of yours has written of other projects stays as it is.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.identity.store import IdentityStore
from realtime.triggers.store import TriggerStore
from workers.store import tables
from workers.store.database import Database
from workers.store.identities import key_record, load_project, load_users
from workers.store.locks import RelayLock
from workers.store.triggers import load_functions, load_webhooks

PAGE = 100
"""How many users are written under one hold of the lock."""


class Rebuild:
    """One run. Uses connections of ``database``; :meth:`run` may be called again after an error.

    Raises what SQLAlchemy and redis-py raise; what was written by then stays, and is right.
    """

    def __init__(self, database: Database, identities: IdentityStore, triggers: TriggerStore) -> None:
        self._database = database
        self._identities = identities
        self._triggers = triggers
        self._lock = RelayLock(database)
        # Records that the read model does not take, by what was wrong with them.
        self.refused: list[str] = []
        # How much was written: of "project", "key", "webhook", "function" and "user".
        self.written: Counter[str] = Counter()

    async def count(self) -> int:
        """Return how many users there are in SQL."""
        async with self._database.reading() as connection:
            return await connection.scalar(select(func.count()).select_from(tables.users)) or 0

    async def run(self, advance: Callable[[int], None]) -> None:
        """Write every project with its keys, triggers and users, and remove what of these SQL does not have.

        Args:
            advance: called with a number of users that were written since the last call.
        """
        try:
            async with self._database.reading() as connection:
                found = await connection.execute(select(tables.projects.c.id).order_by(tables.projects.c.seq))
                project_ids = [project_id for (project_id,) in found]
            for project_id in project_ids:
                if await self._write_project(project_id):
                    await self._write_users(project_id, advance)
            await self._remove_users(frozenset(project_ids))
        finally:
            self._lock.close()

    @contextlib.asynccontextmanager
    async def _held(self, project_id: str) -> AsyncIterator[AsyncConnection]:
        async with self._lock.held(project_id) as holder:
            if holder is not None:
                yield holder
                return
            async with self._database.reading() as connection:
                yield connection

    async def _write_project(self, project_id: str) -> bool:
        """Write a project, its keys and its triggers; return False when it has just been deleted."""
        async with self._held(project_id) as connection:
            project = await load_project(connection, project_id)
            if project is None:
                return False
            await self._identities.put_project(project)
            self.written["project"] += 1
            await self._write_keys(connection, project_id)
            await self._write_triggers(connection, project_id)
        return True

    async def _write_keys(self, connection: AsyncConnection, project_id: str) -> None:
        found = await connection.execute(select(tables.keys).where(tables.keys.c.project_id == project_id))
        keys = [key_record(row) for row in found.mappings()]
        for key, secret_hash in keys:
            await self._identities.put_hashed_key(project_id, key, secret_hash)
        self.written["key"] += len(keys)
        kept = {key.id for key, _ in keys}
        for old in await self._identities.list_keys(project_id):
            if old.id not in kept:
                await self._identities.delete_key(project_id, old.id)

    async def _write_triggers(self, connection: AsyncConnection, project_id: str) -> None:
        webhooks = await load_webhooks(connection, project_id)
        for webhook in webhooks.values():
            await self._triggers.put_webhook(project_id, webhook)
        functions = await load_functions(connection, project_id)
        for function in functions.values():
            await self._triggers.put_function(project_id, function)
        self.written.update(webhook=len(webhooks), function=len(functions))
        kept = {*(("webhook", id_) for id_ in webhooks), *(("function", id_) for id_ in functions)}
        for kind, old_id in await self._triggers.list_ids(project_id):
            if (kind, old_id) not in kept:
                await self._triggers.delete(project_id, kind, old_id)
        # For what a release has written that did not count them.
        await self._triggers.recount(project_id)

    async def _write_users(self, project_id: str, advance: Callable[[int], None]) -> None:
        last = 0
        while True:
            async with self._held(project_id) as connection:
                page = await connection.execute(
                    select(tables.users.c.seq, tables.users.c.id)
                    .where(tables.users.c.project_id == project_id, tables.users.c.seq > last)
                    .order_by(tables.users.c.seq)
                    .limit(PAGE)
                )
                rows = page.all()
                users = await load_users(connection, project_id, [user_id for _, user_id in rows])
                written = (self._identities.put_user(project_id, user) for user in users.values())
                errors = await asyncio.gather(*written, return_exceptions=True)
                self.written["user"] += errors.count(None)
                for error in errors:
                    self._note(error)
            if not rows:
                return
            last = rows[-1][0]
            advance(len(rows))

    def _note(self, error: BaseException | None) -> None:
        """Go on after a record that the read model refuses, but after nothing else."""
        if isinstance(error, ValueError):
            self.refused.append(str(error))
        elif error is not None:
            raise error

    async def _remove_users(self, project_ids: frozenset[str]) -> None:
        """Remove the users that SQL does not have. One pass over the names of all keys of Redis."""
        pages: dict[str, list[str]] = {}
        async for project_id, user_id in self._identities.scan_users():
            if project_id not in project_ids:
                continue
            page = pages.setdefault(project_id, [])
            page.append(user_id)
            if len(page) == PAGE:
                await self._remove_missing(project_id, pages.pop(project_id))
        for project_id, page in pages.items():
            await self._remove_missing(project_id, page)

    async def _remove_missing(self, project_id: str, user_ids: Sequence[str]) -> None:
        async with self._held(project_id) as connection:
            is_asked: ColumnElement[bool] = tables.users.c.id.in_(user_ids)
            found = await connection.execute(
                select(tables.users.c.id).where(tables.users.c.project_id == project_id, is_asked)
            )
            there = {user_id for (user_id,) in found}
            for user_id in user_ids:
                if user_id not in there:
                    await self._identities.delete_user(project_id, user_id)
