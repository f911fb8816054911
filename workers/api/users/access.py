"""Who may call the users service, and the person that a path names."""

from typing import Annotated

from fastapi import Depends, Path
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from workers.api import errors
from workers.api.access import Caller, find_caller, requires
from workers.api.people.targets import targets_of
from workers.api.responses import respond
from workers.models.users import user_model

UserId = Annotated[str, Path(max_length=255, description="The ID of a user.")]

Reader = Annotated[Caller, Depends(requires("users.read"))]
Writer = Annotated[Caller, Depends(requires("users.write"))]


class RequiresEither:
    """The dependency that lets API keys with any of several scopes in."""

    def __init__(self, *scopes: str) -> None:
        self._scopes = scopes

    async def __call__(self, request: Request) -> Caller:
        """Return the caller.

        Raises:
            ApiError: 401 ``general_unauthorized_scope``, which names the first scope.
        """
        caller = await find_caller(request)
        # Guests have the scope sessions.write too, to log in; that is no right to the sessions of others.
        if not caller.is_privileged or not any(map(caller.allows, self._scopes)):
            raise errors.missing_scope(caller.kind.value, self._scopes[0])
        return caller


SessionReader = Annotated[Caller, Depends(RequiresEither("users.read", "sessions.read"))]
SessionWriter = Annotated[Caller, Depends(RequiresEither("users.write", "sessions.write"))]
TargetReader = Annotated[Caller, Depends(RequiresEither("users.read", "targets.read"))]
TargetWriter = Annotated[Caller, Depends(RequiresEither("users.write", "targets.write"))]


async def respond_with_user(
    connection: AsyncConnection, project_id: str, row: RowMapping, status: int = 200
) -> Response:
    """Return the response that shows a user as servers see them."""
    return respond(user_model(row, await targets_of(connection, project_id, row["id"])), status)
