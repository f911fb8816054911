"""Disabling webhooks that have failed for too long, or whose endpoints said that they are gone."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

import structlog
from sqlalchemy import ColumnElement, true, update

from realtime.events.event import Event
from workers.models.webhooks import webhook_model
from workers.store.identities import load_project
from workers.store.metrics import WorkerMetrics
from workers.store.store import Store
from workers.store.tables import webhooks
from workers.webhooks.recorder import WebhookKey

log = structlog.get_logger("realtime.webhooks")


class Disabling:
    """What disables webhooks, beside those who deliver. For one event loop."""

    def __init__(self, store: Store, metrics: WorkerMetrics) -> None:
        self._store = store
        self._metrics = metrics
        self._tasks: dict[WebhookKey, asyncio.Task[None]] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Wait at the end of the block for what has begun."""
        try:
            yield
        finally:
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def soon(
        self, found: Iterable[WebhookKey], reason: str, only_if: ColumnElement[bool] | None = None
    ) -> None:
        """Disable webhooks for a reason. Never blocks. If it fails, their next failure is the next chance.

        Args:
            found: the webhooks, as they were when there was a reason.
            reason: for people to read.
            only_if: what must be true of a webhook still; None for nothing.
        """
        condition = true() if only_if is None else only_if
        for webhook in found:
            if webhook not in self._tasks:
                task = asyncio.create_task(
                    self._disable(webhook, reason, condition), name="realtime-disabling"
                )
                self._tasks[webhook] = task

    async def _disable(self, webhook: WebhookKey, reason: str, only_if: ColumnElement[bool]) -> None:
        try:
            if await disable(self._store, webhook, reason, only_if):
                self._metrics.count_disabled()
        except Exception as error:
            log.exception("a webhook is still to be disabled", webhook=webhook.id, error=type(error).__name__)
        finally:
            del self._tasks[webhook]


async def disable(store: Store, webhook: WebhookKey, reason: str, only_if: ColumnElement[bool]) -> bool:
    """Disable a webhook, with the event that says so; return False if it is already, or is gone.

    One that has another URL by now, or of which ``only_if`` is no longer true, has been mended meanwhile: it is left as
    it is.

    Raises:
        sqlalchemy.exc.SQLAlchemyError, OSError: the database cannot be reached.
    """
    async with store.read() as connection:
        project = await load_project(connection, webhook.project_id)
    if project is None:
        return False
    async with store.write(project) as tx:
        changed = await tx.connection.execute(
            update(webhooks)
            .where(webhooks.c.seq == webhook.seq, webhooks.c.url == webhook.url, webhooks.c.enabled, only_if)
            .values(enabled=False, updated_at=tx.now_text)
            .returning(*webhooks.c)
        )
        row = changed.mappings().one_or_none()
        if row is None:
            return False
        tx.change_webhook(row["id"])
        tx.emit(
            Event("webhooks.[webhookId].update.disabled", webhook_model(row), params={"webhookId": row["id"]})
        )
    log.error(
        "a webhook was disabled",
        project=webhook.project_id,
        webhook=webhook.id,
        reason=reason,
        failed_attempts=row["attempts"],
        failing_since=row["failing_since"],
    )
    return True
