"""Routes of the webhooks of the caller's project."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import Caller, requires
from workers.api.listing import ListParams, list_params
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.api.webhooks import operations
from workers.api.webhooks.bodies import NewSecret, NewWebhook, WebhookChanges
from workers.models.webhooks import Webhook, WebhookList

router = APIRouter(tags=["webhooks"])

Reader = Annotated[Caller, Depends(requires("webhooks.read"))]
Writer = Annotated[Caller, Depends(requires("webhooks.write"))]


@router.post(
    "/v1/webhooks", response_model=None, responses=documented(Webhook, 201), operation_id="webhooksCreate"
)
async def create_webhook(request: Request, body: NewWebhook, caller: Writer) -> Response:
    """Create a webhook. Its secret, with which deliveries are signed, is in this answer alone."""
    return respond(await operations.create_webhook(services_of(request), caller.project, body), 201)


@router.get(
    "/v1/webhooks", response_model=None, responses=documented(WebhookList), operation_id="webhooksList"
)
async def list_webhooks(
    request: Request, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List the webhooks, without their secrets."""
    return respond(await operations.list_webhooks(services_of(request), caller.project, params))


@router.get(
    "/v1/webhooks/{webhookId}",
    response_model=None,
    responses=documented(Webhook),
    operation_id="webhooksGet",
)
async def get_webhook(request: Request, webhookId: str, caller: Reader) -> Response:
    """Get a webhook, without its secret."""
    return respond(await operations.get_webhook(services_of(request), caller.project, webhookId))


@router.put(
    "/v1/webhooks/{webhookId}",
    response_model=None,
    responses=documented(Webhook),
    operation_id="webhooksUpdate",
)
async def update_webhook(request: Request, webhookId: str, body: WebhookChanges, caller: Writer) -> Response:
    """Replace all of a webhook but its secret. Enabling it, which is the default, forgives its failures."""
    return respond(await operations.update_webhook(services_of(request), caller.project, webhookId, body))


@router.patch(
    "/v1/webhooks/{webhookId}/secret",
    response_model=None,
    responses=documented(Webhook),
    operation_id="webhooksUpdateSecret",
)
async def update_secret(request: Request, webhookId: str, body: NewSecret, caller: Writer) -> Response:
    """Sign deliveries with another secret. It is in this answer alone."""
    return respond(await operations.update_secret(services_of(request), caller.project, webhookId, body))


@router.delete(
    "/v1/webhooks/{webhookId}",
    response_model=None,
    status_code=204,
    responses=documented(None),
    operation_id="webhooksDelete",
)
async def delete_webhook(request: Request, webhookId: str, caller: Writer) -> Response:
    """Delete a webhook."""
    await operations.delete_webhook(services_of(request), caller.project, webhookId)
    return respond(None)
