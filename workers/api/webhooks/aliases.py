"""The older paths of the same routes, by which the root key manages the webhooks of any project."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from realtime.identity.model import Project
from workers.api.listing import ListParams, list_params
from workers.api.problems import Problem, refuse
from workers.api.projects.access import require_root
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.api.webhooks import operations
from workers.api.webhooks.bodies import NewSecret, NewWebhook, WebhookChanges
from workers.models.webhooks import Webhook, WebhookList

router = APIRouter(tags=["projects"], dependencies=[Depends(require_root)])


async def _named_project(request: Request, projectId: str) -> Project:
    """Return the project in the path.

    Raises:
        ApiError: 404 ``project_not_found``, also for a project that is not the API's.
    """
    project = await services_of(request).identities.get_project(projectId)
    if project is None or not project.managed:
        raise refuse(Problem.PROJECT_NOT_FOUND)
    return project


NamedProject = Annotated[Project, Depends(_named_project)]


@router.post(
    "/v1/projects/{projectId}/webhooks",
    response_model=None,
    responses=documented(Webhook, 201),
    operation_id="projectsCreateWebhook",
)
async def create_webhook(request: Request, body: NewWebhook, project: NamedProject) -> Response:
    """Create a webhook of a project. Its secret is in this answer alone."""
    return respond(await operations.create_webhook(services_of(request), project, body), 201)


@router.get(
    "/v1/projects/{projectId}/webhooks",
    response_model=None,
    responses=documented(WebhookList),
    operation_id="projectsListWebhooks",
)
async def list_webhooks(
    request: Request, project: NamedProject, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List the webhooks of a project, without their secrets."""
    return respond(await operations.list_webhooks(services_of(request), project, params))


@router.get(
    "/v1/projects/{projectId}/webhooks/{webhookId}",
    response_model=None,
    responses=documented(Webhook),
    operation_id="projectsGetWebhook",
)
async def get_webhook(request: Request, webhookId: str, project: NamedProject) -> Response:
    """Get a webhook of a project, without its secret."""
    return respond(await operations.get_webhook(services_of(request), project, webhookId))


@router.put(
    "/v1/projects/{projectId}/webhooks/{webhookId}",
    response_model=None,
    responses=documented(Webhook),
    operation_id="projectsUpdateWebhook",
)
async def update_webhook(
    request: Request, webhookId: str, body: WebhookChanges, project: NamedProject
) -> Response:
    """Replace all of a webhook of a project but its secret."""
    return respond(await operations.update_webhook(services_of(request), project, webhookId, body))


@router.patch(
    "/v1/projects/{projectId}/webhooks/{webhookId}/secret",
    response_model=None,
    responses=documented(Webhook),
    operation_id="projectsUpdateWebhookSecret",
)
async def update_secret(request: Request, webhookId: str, body: NewSecret, project: NamedProject) -> Response:
    """Sign the deliveries of a project's webhook with another secret. It is in this answer alone."""
    return respond(await operations.update_secret(services_of(request), project, webhookId, body))


@router.delete(
    "/v1/projects/{projectId}/webhooks/{webhookId}",
    response_model=None,
    status_code=204,
    responses=documented(None),
    operation_id="projectsDeleteWebhook",
)
async def delete_webhook(request: Request, webhookId: str, project: NamedProject) -> Response:
    """Delete a webhook of a project."""
    await operations.delete_webhook(services_of(request), project, webhookId)
    return respond(None)
