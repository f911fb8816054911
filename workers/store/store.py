"""The store: transactions in which a change, its events and what read models are to know of it are recorded together.

::

    async with store.write(project) as tx:
        await tx.connection.execute(teams.insert().values(...))
        tx.emit(Event("teams.[teamId].create", payload, params={"teamId": team_id}))

When the block ends, what was emitted is written to the outbox, everything is committed, and the relay is woken,
which publishes it. When it fails, nothing of it ever happened.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.events.event import NOBODY, Acting, Event, prepare
from realtime.identity.model import Project
from workers.store.acting import who_acts
from workers.store.database import Database
from workers.store.outbox import Kind, Record, append
from workers.store.tables import projects
from workers.store.times import to_text


class Wake(Protocol):
    """What is told that the outbox has something: :class:`workers.store.relay.Relay`."""

    def wake(self, project_id: str) -> None:
        """Have what the outbox holds for ``project_id`` published soon. Never blocks, never fails."""

    async def flush(self, project_id: str) -> bool:
        """Have it published now. Returns False when that took too long; it is then still published, later."""


class Transaction:
    """A change that is being made. Used by one task; commits when its block ends."""

    def __init__(
        self, connection: AsyncConnection, project: Project, now: datetime, acting: Acting = NOBODY
    ) -> None:
        # What statements are executed on.
        self.connection = connection
        self.project = project
        # When the change happens: one time for all that it writes, aware.
        self.now = now
        # Who makes it.
        self.acting = acting
        # What goes to the outbox, in order.
        self.recorded: list[Record] = []
        # Whether something that a read model has is among them.
        self.changes_read_model = False

    @property
    def now_text(self) -> str:
        """The time of the change as the store keeps it."""
        return to_text(self.now)

    def emit(self, event: Event) -> None:
        """Record that ``event`` happened, after everything recorded before it; by whoever acts, unless it says by whom.

        Call it after the statement that makes the change: whoever waits for that row's lock then also comes later
        in the outbox.

        Raises:
            InvalidEventError, InvalidPermissionError: the event is wrong. This is a mistake of the caller.
        """
        if self.acting != NOBODY:
            user_id, depth = self.acting
            event = replace(event, actor_id=event.actor_id or user_id, depth=max(event.depth, depth))
        prepared = prepare(event, self.project.id, now=self.now, project_team=self.project.team_id)
        self.recorded += [Record(target.project, "event", target.record) for target in prepared]

    def change_user(self, user_id: str) -> None:
        """Record that the user, a session or a membership of theirs was made, changed or deleted."""
        self._change("user", user_id)

    def change_key(self, key_id: str) -> None:
        """Record that the API key was made, changed or deleted."""
        self._change("key", key_id)

    def change_project(self) -> None:
        """Record that the project's own record or one of its platforms was made, changed or deleted."""
        self._change("project", self.project.id)

    def change_webhook(self, webhook_id: str) -> None:
        """Record that the webhook was made, changed or deleted."""
        self._change("webhook", webhook_id)

    def change_function(self, function_id: str) -> None:
        """Record that the function was made, changed or deleted: when it is run, for how long, by which deployment."""
        self._change("function", function_id)

    async def change_schema(self) -> None:
        """Record that a database or table was changed or deleted: API processes then forget what they know of it.

        Changes of one project that do this come one after another.
        """
        counted = update(projects).where(projects.c.id == self.project.id)
        await self.connection.execute(counted.values(schema_version=projects.c.schema_version + 1))
        self.change_project()

    def _change(self, kind: Kind, resource_id: str) -> None:
        self.changes_read_model = True
        self.recorded.append(Record(self.project.id, kind, resource_id.encode()))


class Store:
    """The data of all projects. Shared by the tasks of one event loop. Raises what :class:`Database` raises."""

    def __init__(self, database: Database, relay: Wake) -> None:
        self.database = database
        self._relay = relay

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that only reads, on what is committed now, and is given up when it takes too long."""
        async with self.database.reading(timeout_s=self.database.read_timeout_s) as connection:
            yield connection

    @contextlib.asynccontextmanager
    async def write(self, project: Project) -> AsyncIterator[Transaction]:
        """Open a transaction that changes something of ``project``.

        It is committed when the block ends, and undone when the block raises. If it changed identities, webhooks or
        functions, the block ends only when the read models have them, or a few seconds later if Redis is away: who
        has logged in can connect at once, and no event after the answer misses a new webhook.
        """
        async with self.database.writing() as connection:
            transaction = Transaction(connection, project, datetime.now(UTC), who_acts())
            yield transaction
            if transaction.recorded:
                await append(connection, transaction.recorded)
        for target in {record.project_id for record in transaction.recorded}:
            self._relay.wake(target)
        if transaction.changes_read_model:
            await self._relay.flush(project.id)
