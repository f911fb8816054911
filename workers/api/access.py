"""Who calls the HTTP API, and with what right: the project and the API key of a request."""

from dataclasses import dataclass

from starlette.requests import Request

from realtime.bus import RedisBus
from realtime.errors import InvalidCredentialError
from realtime.identity.model import ApiKey, Project
from realtime.identity.resolver import Resolver
from realtime.identity.store import IdentityStore
from realtime.settings import Settings
from workers.api import errors

PROJECT_HEADER = "X-Appwrite-Project"
KEY_HEADER = "X-Appwrite-Key"


@dataclass(frozen=True, slots=True)
class Services:
    """What routes work with; one for each application."""

    settings: Settings
    store: IdentityStore
    resolver: Resolver
    bus: RedisBus


def services_of(request: Request) -> Services:
    """Return the objects that the application was created with."""
    services: Services = request.app.state.services
    return services


async def require_project(request: Request) -> Project:
    """Return the project that ``X-Appwrite-Project`` names.

    Raises:
        ApiError: 404 ``project_not_found`` when the header is missing or names no project.
        redis.RedisError: the store cannot be reached.
    """
    project_id = request.headers.get(PROJECT_HEADER, "")
    project = await services_of(request).store.get_project(project_id) if project_id else None
    if project is None:
        raise errors.project_not_found()
    return project


async def require_scope(request: Request, project: Project, scope: str) -> ApiKey:
    """Return the API key in ``X-Appwrite-Key``, which must be one of ``project`` and have ``scope``.

    Raises:
        ApiError: 401 ``general_unauthorized_scope``; a missing, unknown or expired key makes a guest, as
            it does for Appwrite.
        redis.RedisError: the store cannot be reached.
    """
    secret = request.headers.get(KEY_HEADER, "")
    if not secret:
        raise errors.missing_scope("guests", scope)
    try:
        key = await services_of(request).resolver.check_key(project, secret)
    except InvalidCredentialError as error:
        raise errors.missing_scope("guests", scope) from error
    if not key.allows(scope):
        raise errors.missing_scope("applications", scope)
    return key
