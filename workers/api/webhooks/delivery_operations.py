"""What can be done with the deliveries to the webhooks of a project, whatever path asks for it."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.bus.calls import call_workers
from realtime.identity.model import Project
from workers.api.listing import ListParams
from workers.api.problems import Problem, refuse
from workers.api.services import Services
from workers.api.webhooks.delivery_bodies import NewProjectRedeliveries, NewRedeliveries
from workers.models.deliveries import (
    Delivery,
    DeliveryDetails,
    DeliveryList,
    Redeliveries,
    delivery_model,
)
from workers.store.fields import Field
from workers.store.pages import fetch_page
from workers.store.tables import deliveries, webhooks
from workers.webhooks import delivery_log
from workers.webhooks.delivery_log import BATCH, Selection, load_details, redeliver

FIELDS = {
    "$id": Field(deliveries.c.id, "id"),
    "$createdAt": Field(deliveries.c.created_at, "datetime"),
    "$updatedAt": Field(deliveries.c.updated_at, "datetime"),
    "eventId": Field(deliveries.c.event_id, "string"),
    "event": Field(deliveries.c.event, "string"),
    "status": Field(deliveries.c.status, "string"),
    "attempts": Field(deliveries.c.attempts, "integer"),
    "responseStatusCode": Field(deliveries.c.response_status, "integer"),
    "error": Field(deliveries.c.error, "string"),
    "nextAttemptAt": Field(deliveries.c.due_at, "datetime"),
}
"""What deliveries are listed by."""

MAX_REDELIVERIES = 10_000
"""How many deliveries one request has made anew."""


async def list_deliveries(
    services: Services, project: Project, webhook_id: str, params: ListParams
) -> DeliveryList:
    """Return a page of the deliveries to a webhook.

    Raises:
        ApiError: 404 ``webhook_not_found``.
    """
    query = params.query(FIELDS)
    async with services.store.read() as connection:
        webhook = await _require_webhook(connection, project, webhook_id)
        page = await fetch_page(
            connection, deliveries, FIELDS, query, where=_of_webhook(webhook), count=params.total
        )
    return {"total": page.total, "deliveries": [delivery_model(row) for row in page.rows]}


async def get_delivery(
    services: Services, project: Project, webhook_id: str, delivery_id: str
) -> DeliveryDetails:
    """Return a delivery with its event and its last attempts.

    Raises:
        ApiError: 404 ``webhook_not_found`` or ``webhook_delivery_not_found``.
    """
    async with services.store.read() as connection:
        webhook = await _require_webhook(connection, project, webhook_id)
        row = await _require_delivery(connection, webhook, delivery_id)
        return await load_details(connection, row)


async def redeliver_one(services: Services, project: Project, webhook_id: str, delivery_id: str) -> Delivery:
    """Have a delivery made anew, whatever became of it; one that is being attempted stays as it is.

    Raises:
        ApiError: 404 ``webhook_not_found`` or ``webhook_delivery_not_found``, 409 ``webhook_disabled``.
    """
    async with services.store.write(project) as tx:
        webhook = await _require_webhook(tx.connection, project, webhook_id)
        if not webhook["enabled"]:
            raise refuse(Problem.WEBHOOK_DISABLED)
        await _require_delivery(tx.connection, webhook, delivery_id)
        selection = Selection(project.id, webhook_ids=(webhook_id,), ids=(delivery_id,))
        await redeliver(tx.connection, selection, tx.now)
        shown = delivery_model(await _require_delivery(tx.connection, webhook, delivery_id))
    await call_workers(services.bus.redis, "webhooks")
    return shown


async def ping(services: Services, project: Project, webhook_id: str) -> Delivery:
    """Have a webhook told of an event that is about nothing but itself, and return the delivery.

    Raises:
        ApiError: 404 ``webhook_not_found``, 409 ``webhook_disabled``.
    """
    async with services.store.write(project) as tx:
        webhook = await _require_webhook(tx.connection, project, webhook_id)
        if not webhook["enabled"]:
            raise refuse(Problem.WEBHOOK_DISABLED)
        delivery_id = await delivery_log.ping(tx.connection, webhook, tx.now)
        shown = delivery_model(await _require_delivery(tx.connection, webhook, delivery_id))
    await call_workers(services.bus.redis, "webhooks")
    return shown


async def redeliver_to_webhook(
    services: Services, project: Project, webhook_id: str, body: NewRedeliveries
) -> Redeliveries:
    """Have deliveries to a webhook made anew, the oldest first, at most :data:`MAX_REDELIVERIES`.

    Raises:
        ApiError: 400 ``general_cursor_not_found``, 404 ``webhook_not_found``, 409 ``webhook_disabled``.
    """
    async with services.store.read() as connection:
        webhook = await _require_webhook(connection, project, webhook_id)
    if not webhook["enabled"]:
        raise refuse(Problem.WEBHOOK_DISABLED)
    return await _redeliver(services, project, body, (webhook_id,))


async def redeliver_to_webhooks(
    services: Services, project: Project, body: NewProjectRedeliveries
) -> Redeliveries:
    """Have deliveries of a project made anew as :func:`redeliver_to_webhook` does; disabled webhooks are left out.

    Raises:
        ApiError: 400 ``general_cursor_not_found``, 404 ``webhook_not_found`` for one of ``webhookIds``.
    """
    async with services.store.read() as connection:
        for webhook_id in body.webhookIds:
            await _require_webhook(connection, project, webhook_id)
    return await _redeliver(services, project, body, body.webhookIds)


async def _redeliver(
    services: Services, project: Project, body: NewRedeliveries, webhook_ids: tuple[str, ...]
) -> Redeliveries:
    selection = Selection(
        project.id,
        webhook_ids=webhook_ids,
        status=body.status or (None if body.eventId else "dead"),
        event_id=body.eventId or "",
        since=body.since or "",
        until=body.until or "",
    )
    # One for all steps: what was made anew and has failed again meanwhile does not come twice.
    now = datetime.now(UTC)
    after_seq = await _find_cursor(services, project, body.cursor) if body.cursor else 0
    total = 0
    while total < MAX_REDELIVERIES:
        async with services.store.write(project) as tx:
            step = await redeliver(
                tx.connection, selection, now, after_seq=after_seq, limit=min(BATCH, MAX_REDELIVERIES - total)
            )
        total += step.changed
        await call_workers(services.bus.redis, "webhooks")
        if step.last_seq is None:
            return {"total": total, "cursor": ""}
        after_seq = step.last_seq
    return {"total": total, "cursor": await _id_of(services, after_seq)}


async def _find_cursor(services: Services, project: Project, delivery_id: str) -> int:
    statement = select(deliveries.c.seq).where(
        deliveries.c.project_id == project.id, deliveries.c.id == delivery_id
    )
    async with services.store.read() as connection:
        seq: int | None = await connection.scalar(statement)
    if seq is None:
        raise refuse(Problem.CURSOR_NOT_FOUND)
    return seq


async def _id_of(services: Services, seq: int) -> str:
    async with services.store.read() as connection:
        return await connection.scalar(select(deliveries.c.id).where(deliveries.c.seq == seq)) or ""


def _of_webhook(webhook: RowMapping) -> list[Any]:
    return [
        deliveries.c.project_id == webhook["project_id"],
        deliveries.c.webhook_id == webhook["id"],
        # One that is made anew under the same ID is another webhook.
        deliveries.c.webhook_seq == webhook["seq"],
    ]


async def _require_webhook(connection: AsyncConnection, project: Project, webhook_id: str) -> RowMapping:
    statement = select(webhooks).where(webhooks.c.project_id == project.id, webhooks.c.id == webhook_id)
    row = (await connection.execute(statement)).mappings().one_or_none()
    if row is None:
        raise refuse(Problem.WEBHOOK_NOT_FOUND)
    return row


async def _require_delivery(connection: AsyncConnection, webhook: RowMapping, delivery_id: str) -> RowMapping:
    statement = select(deliveries).where(*_of_webhook(webhook), deliveries.c.id == delivery_id)
    row = (await connection.execute(statement)).mappings().one_or_none()
    if row is None:
        raise refuse(Problem.DELIVERY_NOT_FOUND)
    return row
