"""The paths by which the root key looks after the deliveries of any project."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from workers.api.listing import ListParams, list_params
from workers.api.projects.access import require_root
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.api.webhooks import delivery_operations as operations
from workers.api.webhooks.aliases import NamedProject
from workers.api.webhooks.delivery_bodies import NewProjectRedeliveries, NewRedeliveries
from workers.models.deliveries import Delivery, DeliveryDetails, DeliveryList, Redeliveries

router = APIRouter(tags=["projects"], dependencies=[Depends(require_root)])


@router.get(
    "/v1/projects/{projectId}/webhooks/{webhookId}/deliveries",
    response_model=None,
    responses=documented(DeliveryList),
    operation_id="projectsListWebhookDeliveries",
)
async def list_deliveries(
    request: Request,
    webhookId: str,
    project: NamedProject,
    params: Annotated[ListParams, Depends(list_params)],
) -> Response:
    """List the deliveries to a webhook of a project."""
    return respond(await operations.list_deliveries(services_of(request), project, webhookId, params))


@router.get(
    "/v1/projects/{projectId}/webhooks/{webhookId}/deliveries/{deliveryId}",
    response_model=None,
    responses=documented(DeliveryDetails),
    operation_id="projectsGetWebhookDelivery",
)
async def get_delivery(request: Request, webhookId: str, deliveryId: str, project: NamedProject) -> Response:
    """Get a delivery with what is sent, and its attempts."""
    return respond(await operations.get_delivery(services_of(request), project, webhookId, deliveryId))


@router.post(
    "/v1/projects/{projectId}/webhooks/{webhookId}/deliveries/{deliveryId}/redelivery",
    response_model=None,
    status_code=202,
    responses=documented(Delivery, 202),
    operation_id="projectsRedeliver",
)
async def redeliver(request: Request, webhookId: str, deliveryId: str, project: NamedProject) -> Response:
    """Have a delivery made anew, with the same ID, whatever became of it."""
    return respond(await operations.redeliver_one(services_of(request), project, webhookId, deliveryId), 202)


@router.post(
    "/v1/projects/{projectId}/webhooks/{webhookId}/pings",
    response_model=None,
    status_code=202,
    responses=documented(Delivery, 202),
    operation_id="projectsCreateWebhookPing",
)
async def create_ping(request: Request, webhookId: str, project: NamedProject) -> Response:
    """Have a test event, `webhooks.W.ping`, delivered to a webhook of a project as all events are."""
    return respond(await operations.ping(services_of(request), project, webhookId), 202)


@router.post(
    "/v1/projects/{projectId}/webhooks/{webhookId}/redeliveries",
    response_model=None,
    status_code=202,
    responses=documented(Redeliveries, 202),
    operation_id="projectsCreateWebhookRedeliveries",
)
async def create_redeliveries(
    request: Request, webhookId: str, body: NewRedeliveries, project: NamedProject
) -> Response:
    """Have all dead letters of a webhook since a time, or one event, delivered anew; at most 10,000 at once."""
    return respond(await operations.redeliver_to_webhook(services_of(request), project, webhookId, body), 202)


@router.post(
    "/v1/projects/{projectId}/webhooks/redeliveries",
    response_model=None,
    status_code=202,
    responses=documented(Redeliveries, 202),
    operation_id="projectsCreateRedeliveries",
)
async def create_project_redeliveries(
    request: Request, body: NewProjectRedeliveries, project: NamedProject
) -> Response:
    """Have all dead letters since a time, or one event, of several webhooks of a project delivered anew."""
    return respond(await operations.redeliver_to_webhooks(services_of(request), project, body), 202)
