"""Routes of a project's policies: what it says of passwords, sessions and the privacy of members.

``null`` for a limit switches it off; it is kept, and shown, as 0.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from realtime.settings import Settings
from workers.api.access import Caller, requires
from workers.api.listing import ListParams, list_params
from workers.api.params import Body
from workers.api.projects.access import require_row
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.models.policies import DEFAULTS, PolicyList, policy_model
from workers.models.projects import Project, project_model
from workers.store import projects as store

router = APIRouter(tags=["project"])

MAX_LIMIT = 5000
MAX_SESSION_S = 31_536_000

Reader = Annotated[Caller, Depends(requires("policies.read"))]
Writer = Annotated[Caller, Depends(requires("policies.write"))]

Switched = Literal["password-personal-data", "session-invalidation"]
Limited = Literal["password-history", "session-limit", "user-limit"]
PolicyId = Literal[
    "password-history",
    "password-personal-data",
    "session-duration",
    "session-invalidation",
    "session-limit",
    "user-limit",
    "membership-privacy",
]


class Switch(Body):
    """Whether the policy is in force."""

    enabled: bool


class Limit(Body):
    """How many there may be; None for no limit."""

    total: Annotated[int | None, Field(ge=1, le=MAX_LIMIT)]


class Duration(Body):
    """How long it lasts, in seconds."""

    duration: Annotated[int, Field(ge=5, le=MAX_SESSION_S)]


class Privacy(Body):
    """What members of a team see of each other; what is left out stays as it is."""

    userId: bool | None = None
    userEmail: bool | None = None
    userPhone: bool | None = None
    userName: bool | None = None
    userMFA: bool | None = None
    userAccessedAt: bool | None = None


@router.get(
    "/v1/project/policies",
    response_model=None,
    responses=documented(PolicyList),
    operation_id="projectListPolicies",
)
async def list_policies(
    request: Request, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List all policies; the only queries are ``limit`` and ``offset``."""
    query = params.query(())
    services = services_of(request)
    async with services.store.read() as connection:
        stored = (await require_row(connection, caller.project.id))["policies"]
    defaults = _defaults(services.settings)
    models = [policy_model(policy_id, stored, defaults) for policy_id in DEFAULTS]
    page = models[query.offset : query.offset + query.limit]
    return respond({"total": len(models) if params.total else 0, "policies": page})


@router.get(
    "/v1/project/policies/{policyId}",
    response_model=None,
    responses=documented(dict[str, Any]),
    operation_id="projectGetPolicy",
)
async def get_policy(request: Request, policyId: PolicyId, caller: Reader) -> Response:
    """Get a policy."""
    services = services_of(request)
    async with services.store.read() as connection:
        stored = (await require_row(connection, caller.project.id))["policies"]
    return respond(policy_model(policyId, stored, _defaults(services.settings)))


@router.patch(
    "/v1/project/policies/session-duration",
    response_model=None,
    responses=documented(Project),
    operation_id="projectUpdateSessionDurationPolicy",
)
async def update_session_duration(request: Request, body: Duration, caller: Writer) -> Response:
    """Change how long new sessions last."""
    return await _change(request, caller, "session-duration", {"duration": body.duration})


@router.patch(
    "/v1/project/policies/membership-privacy",
    response_model=None,
    responses=documented(Project),
    operation_id="projectUpdateMembershipPrivacyPolicy",
)
async def update_membership_privacy(request: Request, body: Privacy, caller: Writer) -> Response:
    """Change what members of a team see of each other."""
    return await _change(request, caller, "membership-privacy", body.model_dump(exclude_none=True))


def _switched(policy_id: Switched, text: str) -> None:
    @router.patch(
        f"/v1/project/policies/{policy_id}",
        response_model=None,
        responses=documented(Project),
        operation_id=_operation_id(policy_id),
        name=policy_id,
        description=text,
    )
    async def update_switch(request: Request, body: Switch, caller: Writer) -> Response:
        return await _change(request, caller, policy_id, {"enabled": body.enabled})


def _limited(policy_id: Limited, text: str) -> None:
    @router.patch(
        f"/v1/project/policies/{policy_id}",
        response_model=None,
        responses=documented(Project),
        operation_id=_operation_id(policy_id),
        name=policy_id,
        description=text,
    )
    async def update_limit(request: Request, body: Limit, caller: Writer) -> Response:
        return await _change(request, caller, policy_id, {"total": body.total or 0})


def _operation_id(policy_id: str) -> str:
    return f"projectUpdate{policy_id.title().replace('-', '')}Policy"


_switched("password-personal-data", "Say whether passwords may hold the name or an address of their person.")
_switched("session-invalidation", "Say whether sessions end that were begun with a former password.")
_limited("password-history", "Say how many former passwords must not be used again.")
_limited("session-limit", "Say how many sessions a person may have.")
_limited("user-limit", "Say how many people may sign up.")


async def _change(request: Request, caller: Caller, policy_id: str, members: dict[str, Any]) -> Response:
    async with services_of(request).store.write(caller.project) as tx:
        before = (await require_row(tx.connection, caller.project.id, lock=True))["policies"]
        changed = before | {policy_id: before.get(policy_id, {}) | members}
        row = await store.update_project(tx, {"policies": changed})
    assert row is not None  # noqa: S101 - it is locked
    return respond(project_model(row))


def _defaults(settings: Settings) -> dict[str, dict[str, Any]]:
    return {
        "session-duration": {"duration": int(settings.session_lifetime_s)},
        "session-limit": {"total": settings.sessions_per_user},
    }
