"""What can be done to the webhooks of a project, whatever path asks for it."""

import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import RowMapping, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from realtime.events.event import Event
from realtime.identity.model import Project
from workers.api.errors import bad_request
from workers.api.listing import ListParams
from workers.api.problems import Problem, refuse
from workers.api.projects.access import require_row
from workers.api.services import Services
from workers.api.webhooks.bodies import NewSecret, NewWebhook, WebhookChanges
from workers.models.people import Row
from workers.models.webhooks import Webhook, WebhookList, webhook_model
from workers.outbound.targets import TargetError
from workers.store.fields import Field
from workers.store.ids import choose_id
from workers.store.pages import fetch_page
from workers.store.sealing import UnsealError
from workers.store.store import Transaction
from workers.store.tables import webhooks
from workers.store.times import to_text

log = structlog.get_logger("realtime.api")

FIELDS = {
    "$id": Field(webhooks.c.id, "id"),
    "$createdAt": Field(webhooks.c.created_at, "datetime"),
    "$updatedAt": Field(webhooks.c.updated_at, "datetime"),
    "name": Field(webhooks.c.name, "string"),
    "url": Field(webhooks.c.url, "string"),
    "authUsername": Field(webhooks.c.auth_username, "string"),
    "tls": Field(webhooks.c.tls, "boolean"),
    "events": Field(webhooks.c.events, "json-array", items="string"),
    "enabled": Field(webhooks.c.enabled, "boolean"),
    "logs": Field(webhooks.c.logs, "string"),
    "attempts": Field(webhooks.c.attempts, "integer"),
}
"""What webhooks are listed by."""


async def create_webhook(services: Services, project: Project, body: NewWebhook) -> Webhook:
    """Make a webhook, and return it with its secret.

    Raises:
        ApiError: 400 for a URL that nothing may be sent to, 404 ``project_not_found``, 409 ``webhook_already_exists``.
    """
    await _check_url(services, body.url)
    secret = body.secret or _new_secret()
    async with services.store.write(project) as tx:
        # Locked, so that no webhook is left behind by a project that is deleted at this moment.
        await require_row(tx.connection, project.id, lock=True)
        values = _columns(services, body) | {
            "project_id": project.id,
            "id": choose_id(body.webhookId),
            "secret": services.sealer.seal(secret),
            "logs": "",
            "attempts": 0,
            "created_at": tx.now_text,
            "updated_at": tx.now_text,
        }
        try:
            await tx.connection.execute(insert(webhooks), values)
        except IntegrityError as error:
            raise refuse(Problem.WEBHOOK_EXISTS) from error
        _emit(tx, "create", values)
    return webhook_model(values, auth_password=body.authPassword, secret=secret)


async def list_webhooks(services: Services, project: Project, params: ListParams) -> WebhookList:
    """Return a page of webhooks, without their secrets."""
    async with services.store.read() as connection:
        page = await fetch_page(
            connection,
            webhooks,
            FIELDS,
            params.query(FIELDS),
            where=[webhooks.c.project_id == project.id],
            count=params.total,
        )
    return {"total": page.total, "webhooks": [_shown(services, row) for row in page.rows]}


async def get_webhook(services: Services, project: Project, webhook_id: str) -> Webhook:
    """Return a webhook, without its secret.

    Raises:
        ApiError: 404 ``webhook_not_found``.
    """
    statement = select(webhooks).where(webhooks.c.project_id == project.id, webhooks.c.id == webhook_id)
    async with services.store.read() as connection:
        row = (await connection.execute(statement)).mappings().one_or_none()
    if row is None:
        raise refuse(Problem.WEBHOOK_NOT_FOUND)
    return _shown(services, row)


async def update_webhook(
    services: Services, project: Project, webhook_id: str, body: WebhookChanges
) -> Webhook:
    """Replace all of a webhook but its secret; one that is enabled gets all its attempts back.

    Raises:
        ApiError: 400 for a URL that nothing may be sent to, 404 ``webhook_not_found``.
    """
    await _check_url(services, body.url)
    changes = _columns(services, body)
    if body.enabled:
        changes |= {"attempts": 0, "failing_since": None}
    async with services.store.write(project) as tx:
        row = await _change(tx, webhook_id, changes)
    return webhook_model(row, auth_password=body.authPassword)


async def update_secret(services: Services, project: Project, webhook_id: str, body: NewSecret) -> Webhook:
    """Sign deliveries with another secret from now on, and return the webhook with it.

    The one before signs too for a while, so that receivers can change over without missing anything. One that was
    before that does no longer. The secret that it has already changes nothing of that: a request may be repeated.

    Raises:
        ApiError: 404 ``webhook_not_found``.
    """
    secret = body.secret or _new_secret()
    overlap_s = services.settings.webhooks_secret_overlap_s
    async with services.store.write(project) as tx:
        changes: dict[str, Any] = {"secret": services.sealer.seal(secret)}
        if not overlap_s or not await _has_secret(services, tx, webhook_id, secret):
            changes |= {
                # On the right of an assignment, SQL means what the row was.
                "former_secret": webhooks.c.secret if overlap_s else "",
                "former_secret_until": to_text(tx.now + timedelta(seconds=overlap_s)) if overlap_s else None,
            }
        row = await _change(tx, webhook_id, changes)
    return _shown(services, row, secret=secret)


async def delete_webhook(services: Services, project: Project, webhook_id: str) -> None:
    """Delete a webhook; no delivery to it begins more than about a second after that.

    The deliveries are shown no more, and removed little by little, by workers and by maintenance.

    Raises:
        ApiError: 404 ``webhook_not_found``.
    """
    async with services.store.write(project) as tx:
        deleted = await tx.connection.execute(
            delete(webhooks)
            .where(webhooks.c.project_id == project.id, webhooks.c.id == webhook_id)
            .returning(*webhooks.c)
        )
        row = deleted.mappings().one_or_none()
        if row is None:
            raise refuse(Problem.WEBHOOK_NOT_FOUND)
        _emit(tx, "delete", row)


async def _check_url(services: Services, url: str) -> None:
    """Refuse what nothing may be sent to. Outside of transactions: it may ask a name server."""
    try:
        await services.guard.check(url)
    except TargetError as error:
        raise bad_request(f"Invalid `url` param: {error}.") from error


async def _has_secret(services: Services, tx: Transaction, webhook_id: str, secret: str) -> bool:
    """Tell whether a webhook is signed with ``secret`` already; it is locked, so that this stays true."""
    found = select(webhooks.c.secret).where(
        webhooks.c.project_id == tx.project.id, webhooks.c.id == webhook_id
    )
    sealed = await tx.connection.scalar(found.with_for_update())
    try:
        return services.sealer.unseal(sealed or "") == secret
    except UnsealError:
        return False


def _new_secret() -> str:
    return secrets.token_hex(64)


def _columns(services: Services, body: WebhookChanges) -> dict[str, Any]:
    return {
        "name": body.name,
        "url": body.url,
        "events": body.events,
        "tls": body.tls,
        "auth_username": body.authUsername,
        "auth_password": services.sealer.seal(body.authPassword),
        "enabled": body.enabled,
    }


async def _change(tx: Transaction, webhook_id: str, changes: Mapping[str, Any]) -> RowMapping:
    changed = await tx.connection.execute(
        update(webhooks)
        .where(webhooks.c.project_id == tx.project.id, webhooks.c.id == webhook_id)
        .values(**changes, updated_at=tx.now_text)
        .returning(*webhooks.c)
    )
    row = changed.mappings().one_or_none()
    if row is None:
        raise refuse(Problem.WEBHOOK_NOT_FOUND)
    _emit(tx, "update", row)
    return row


def _emit(tx: Transaction, action: str, row: Row) -> None:
    tx.change_webhook(row["id"])
    tx.emit(Event(f"webhooks.[webhookId].{action}", webhook_model(row), params={"webhookId": row["id"]}))


def _shown(services: Services, row: RowMapping, *, secret: str = "") -> Webhook:
    try:
        password = services.sealer.unseal(row["auth_password"])
    except UnsealError:
        # It can still be told of, and given a new password.
        log.warning("the password of a webhook cannot be decrypted", webhook=row["id"])
        password = ""
    return webhook_model(row, auth_password=password, secret=secret)
