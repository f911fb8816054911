"""Who may call the routes of projects, and how the caller's project is found in SQL."""

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request

from workers.api import errors
from workers.api.access import is_root
from workers.api.problems import Problem, refuse
from workers.store.projects import find_project


async def require_root(request: Request) -> None:
    """Let in who bears the root key: a FastAPI dependency.

    Raises:
        ApiError: 401 ``general_unauthorized_scope``.
    """
    if not is_root(request):
        raise errors.missing_scope("guests", "projects.write")


async def require_row(connection: AsyncConnection, project_id: str, *, lock: bool = False) -> RowMapping:
    """Return the row of a project; with ``lock`` nobody else changes it until the transaction ends.

    Raises:
        ApiError: 404 ``project_not_found``, also for a project that only the read model has.
    """
    row = await find_project(connection, project_id, lock=lock)
    if row is None:
        raise refuse(Problem.PROJECT_NOT_FOUND)
    return row
