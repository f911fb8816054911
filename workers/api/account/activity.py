"""Routes of what is known about an account's use: its log, and its identities at OAuth2 providers."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from workers.api.account.signed_in import SignedIn
from workers.api.listing import ListParams, list_params
from workers.api.people.logs import read_logs
from workers.api.people.users import require_user
from workers.api.problems import Problem, refuse
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.models.logs import LogList
from workers.models.users import IdentityList

router = APIRouter(tags=["account"])

_IDENTITY_ATTRIBUTES = frozenset({
    "userId", "provider", "providerUid", "providerEmail", "providerAccessTokenExpiry",
})  # fmt: skip


@router.get(
    "/v1/account/logs", response_model=None, responses=documented(LogList), operation_id="accountListLogs"
)
async def list_logs(
    request: Request, caller: SignedIn, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List what the person did, latest first. Only `limit` and `offset` are allowed."""
    async with services_of(request).store.read() as connection:
        user = await require_user(connection, caller.project.id, caller.user_id)
        return respond(await read_logs(connection, user, params))


@router.get(
    "/v1/account/identities",
    response_model=None,
    responses=documented(IdentityList),
    operation_id="accountListIdentities",
)
async def list_identities(_caller: SignedIn, params: Annotated[ListParams, Depends(list_params)]) -> Response:
    """List accounts elsewhere that the person logged in with. There are none, since no provider is known."""
    params.query(_IDENTITY_ATTRIBUTES)
    return respond({"total": 0, "identities": []})


@router.delete(
    "/v1/account/identities/{identityId}",
    response_model=None,
    responses=documented(None, 204),
    operation_id="accountDeleteIdentity",
)
async def delete_identity(identityId: str, _caller: SignedIn) -> Response:  # noqa: ARG001 - it is none, whatever it is
    """Delete an identity; there are none."""
    raise refuse(Problem.USER_IDENTITY_NOT_FOUND)
