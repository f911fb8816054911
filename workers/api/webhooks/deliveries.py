"""Routes of the deliveries to the webhooks of the caller's project: the log of them, and having them made anew."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import Caller, requires
from workers.api.listing import ListParams, list_params
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.api.webhooks import delivery_operations as operations
from workers.api.webhooks.delivery_bodies import NewProjectRedeliveries, NewRedeliveries
from workers.models.deliveries import Delivery, DeliveryDetails, DeliveryList, Redeliveries

router = APIRouter(tags=["webhooks"])

Reader = Annotated[Caller, Depends(requires("webhooks.read"))]
Writer = Annotated[Caller, Depends(requires("webhooks.write"))]


@router.get(
    "/v1/webhooks/{webhookId}/deliveries",
    response_model=None,
    responses=documented(DeliveryList),
    operation_id="webhooksListDeliveries",
)
async def list_deliveries(
    request: Request, webhookId: str, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List the deliveries to a webhook."""
    return respond(await operations.list_deliveries(services_of(request), caller.project, webhookId, params))


@router.get(
    "/v1/webhooks/{webhookId}/deliveries/{deliveryId}",
    response_model=None,
    responses=documented(DeliveryDetails),
    operation_id="webhooksGetDelivery",
)
async def get_delivery(request: Request, webhookId: str, deliveryId: str, caller: Reader) -> Response:
    """Get a delivery with what is sent, and its attempts."""
    return respond(await operations.get_delivery(services_of(request), caller.project, webhookId, deliveryId))


@router.post(
    "/v1/webhooks/{webhookId}/deliveries/{deliveryId}/redelivery",
    response_model=None,
    status_code=202,
    responses=documented(Delivery, 202),
    operation_id="webhooksRedeliver",
)
async def redeliver(request: Request, webhookId: str, deliveryId: str, caller: Writer) -> Response:
    """Have a delivery made anew, with the same ID, whatever became of it."""
    return respond(
        await operations.redeliver_one(services_of(request), caller.project, webhookId, deliveryId), 202
    )


@router.post(
    "/v1/webhooks/{webhookId}/pings",
    response_model=None,
    status_code=202,
    responses=documented(Delivery, 202),
    operation_id="webhooksCreatePing",
)
async def create_ping(request: Request, webhookId: str, caller: Writer) -> Response:
    """Have a test event, `webhooks.W.ping`, delivered to a webhook as all events are."""
    return respond(await operations.ping(services_of(request), caller.project, webhookId), 202)


@router.post(
    "/v1/webhooks/{webhookId}/redeliveries",
    response_model=None,
    status_code=202,
    responses=documented(Redeliveries, 202),
    operation_id="webhooksCreateRedeliveries",
)
async def create_redeliveries(
    request: Request, webhookId: str, body: NewRedeliveries, caller: Writer
) -> Response:
    """Have all dead letters of a webhook since a time, or one event, delivered anew; at most 10,000 at once."""
    return respond(
        await operations.redeliver_to_webhook(services_of(request), caller.project, webhookId, body), 202
    )


@router.post(
    "/v1/webhooks/redeliveries",
    response_model=None,
    status_code=202,
    responses=documented(Redeliveries, 202),
    operation_id="webhooksCreateProjectRedeliveries",
)
async def create_project_redeliveries(
    request: Request, body: NewProjectRedeliveries, caller: Writer
) -> Response:
    """Have all dead letters since a time, or one event, of several webhooks delivered anew; at most 10,000 at once."""
    return respond(await operations.redeliver_to_webhooks(services_of(request), caller.project, body), 202)
