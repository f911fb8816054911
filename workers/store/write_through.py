"""Writing what changed in SQL through to the read models in Redis: identities for hubs, triggers for workers.

Told which resource changed, it writes what SQL has of it at that moment, so that the last state wins and writing
again does no harm. Whoever calls it holds the relay's lock of the project (:mod:`workers.store.locks`).
"""

import contextlib
from collections.abc import Iterator, Sequence

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.identity.store import IdentityStore
from realtime.presences.store import PresenceStore
from realtime.triggers.store import TriggerStore
from workers.store.identities import load_key, load_project, load_users
from workers.store.triggers import load_functions, load_webhooks

log = structlog.get_logger("realtime.relay")


class WriteThrough:
    """Writes to both read models. Raises what SQLAlchemy and redis-py raise."""

    def __init__(
        self, identities: IdentityStore, triggers: TriggerStore, presences: PresenceStore | None = None
    ) -> None:
        """Write to these; the presence of a user who is gone goes too, or expires if ``presences`` is None."""
        self._identities = identities
        self._triggers = triggers
        self._presences = presences
        self._writers = {
            "user": self._write_users,
            "key": self._write_keys,
            "project": self._write_project,
            "webhook": self._write_webhooks,
            "function": self._write_functions,
        }

    async def write(
        self, connection: AsyncConnection, kind: str, project_id: str, ids: Sequence[str]
    ) -> None:
        """Write what SQL has of the resources of a kind, or remove them from the read models if it has them no more.

        A record that a read model refuses is left out, which is logged: it must not hold up everything behind it.

        Args:
            connection: to read SQL with.
            kind: one of :data:`workers.store.outbox.Kind`, other than ``event``.
            project_id: the project they are of.
            ids: the resources.
        """
        writer = self._writers.get(kind)
        if writer is None:
            log.error("the outbox holds an entry of an unknown kind", kind=kind)
        else:
            await writer(connection, project_id, ids)

    async def _write_users(self, connection: AsyncConnection, project_id: str, ids: Sequence[str]) -> None:
        users = await load_users(connection, project_id, ids)
        for user_id in ids:
            user = users.get(user_id)
            with _skipping_refused(project_id, user_id):
                if user is None:
                    await self._identities.delete_user(project_id, user_id)
                    if self._presences is not None:
                        await self._presences.delete_of_user(project_id, user_id)
                else:
                    await self._identities.put_user(project_id, user)

    async def _write_keys(self, connection: AsyncConnection, project_id: str, ids: Sequence[str]) -> None:
        for key_id in ids:
            found = await load_key(connection, project_id, key_id)
            with _skipping_refused(project_id, key_id):
                if found is None:
                    await self._identities.delete_key(project_id, key_id)
                else:
                    await self._identities.put_hashed_key(project_id, *found)

    async def _write_project(self, connection: AsyncConnection, project_id: str, _: Sequence[str]) -> None:
        project = await load_project(connection, project_id)
        with _skipping_refused(project_id, project_id):
            if project is None:
                await self._identities.delete_project(project_id)
            else:
                await self._identities.put_project(project)

    async def _write_webhooks(self, connection: AsyncConnection, project_id: str, ids: Sequence[str]) -> None:
        webhooks = await load_webhooks(connection, project_id, ids)
        for webhook_id in ids:
            webhook = webhooks.get(webhook_id)
            with _skipping_refused(project_id, webhook_id):
                if webhook is None:
                    await self._triggers.delete(project_id, "webhook", webhook_id)
                else:
                    await self._triggers.put_webhook(project_id, webhook)

    async def _write_functions(
        self, connection: AsyncConnection, project_id: str, ids: Sequence[str]
    ) -> None:
        functions = await load_functions(connection, project_id, ids)
        for function_id in ids:
            function = functions.get(function_id)
            with _skipping_refused(project_id, function_id):
                if function is None:
                    await self._triggers.delete(project_id, "function", function_id)
                else:
                    await self._triggers.put_function(project_id, function)


@contextlib.contextmanager
def _skipping_refused(project_id: str, resource_id: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        log.error(  # noqa: TRY400 - the refusal says it all
            "a record cannot be written through", project=project_id, id=resource_id, error=str(error)
        )
