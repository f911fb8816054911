"""Routes of all projects, for the root key."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field as BodyField
from sqlalchemy.exc import IntegrityError
from starlette.requests import Request
from starlette.responses import Response

from realtime.identity.model import CONSOLE
from realtime.identity.model import Project as ProjectRecord
from workers.api.listing import ListParams, list_params
from workers.api.params import Body, CustomId, Name
from workers.api.problems import Problem, refuse
from workers.api.projects.access import require_root, require_row
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.models.projects import Project, ProjectList, project_model
from workers.store import projects as store
from workers.store.fields import Field
from workers.store.ids import choose_id
from workers.store.pages import fetch_page
from workers.store.tables import projects

router = APIRouter(tags=["projects"], dependencies=[Depends(require_root)])

FIELDS = {
    "$id": Field(projects.c.id, "id"),
    "$createdAt": Field(projects.c.created_at, "datetime"),
    "$updatedAt": Field(projects.c.updated_at, "datetime"),
    "name": Field(projects.c.name, "string"),
    "teamId": Field(projects.c.team_id, "string"),
    "pingCount": Field(projects.c.ping_count, "integer"),
}
"""What projects are listed by."""

TeamId = Annotated[str, BodyField(max_length=36, pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$")]
Region = Annotated[str, BodyField(max_length=64)]


class NewProject(Body):
    """A project to be made. Without a region it may be reached everywhere."""

    projectId: CustomId
    name: Name
    teamId: TeamId = ""
    region: Region = ""


class ProjectChanges(Body):
    """What is to be otherwise; what is left out stays as it is."""

    name: Name | None = None
    teamId: TeamId | None = None
    region: Region | None = None


@router.post(
    "/v1/projects",
    response_model=None,
    responses=documented(Project, 201),
    operation_id="projectsCreate",
)
async def create_project(request: Request, body: NewProject) -> Response:
    """Create a project."""
    project_id = choose_id(body.projectId)
    if project_id == CONSOLE:
        raise refuse(Problem.PROJECT_RESERVED)
    async with services_of(request).store.write(
        ProjectRecord(id=project_id, team_id=body.teamId, region=body.region)
    ) as tx:
        try:
            row = await store.create_project(tx, name=body.name, team_id=body.teamId, region=body.region)
        except IntegrityError as error:
            raise refuse(Problem.PROJECT_EXISTS) from error
    return respond(project_model(row), 201)


@router.get(
    "/v1/projects", response_model=None, responses=documented(ProjectList), operation_id="projectsList"
)
async def list_projects(request: Request, params: Annotated[ListParams, Depends(list_params)]) -> Response:
    """List projects; ``search`` looks into names and IDs."""
    found = []
    if params.search:
        found = [
            projects.c.name.icontains(params.search, autoescape=True)
            | projects.c.id.icontains(params.search, autoescape=True)
        ]
    async with services_of(request).store.read() as connection:
        page = await fetch_page(
            connection, projects, FIELDS, params.query(FIELDS), where=found, count=params.total
        )
    return respond({"total": page.total, "projects": [project_model(row) for row in page.rows]})


@router.get(
    "/v1/projects/{projectId}",
    response_model=None,
    responses=documented(Project),
    operation_id="projectsGet",
)
async def get_project(request: Request, projectId: str) -> Response:
    """Get a project."""
    async with services_of(request).store.read() as connection:
        return respond(project_model(await require_row(connection, projectId)))


@router.patch(
    "/v1/projects/{projectId}",
    response_model=None,
    responses=documented(Project),
    operation_id="projectsUpdate",
)
async def update_project(request: Request, projectId: str, body: ProjectChanges) -> Response:
    """Change the name, the team or the region of a project."""
    columns = {"name": body.name, "team_id": body.teamId, "region": body.region}
    changes = {name: value for name, value in columns.items() if value is not None}
    async with services_of(request).store.write(ProjectRecord(id=projectId)) as tx:
        await require_row(tx.connection, projectId, lock=True)
        row = await store.update_project(tx, changes)
    assert row is not None  # noqa: S101 - it is locked
    return respond(project_model(row))


@router.delete(
    "/v1/projects/{projectId}",
    response_model=None,
    responses=documented(None),
    operation_id="projectsDelete",
)
async def delete_project(request: Request, projectId: str) -> Response:
    """Delete a project with everything in it; its connections are closed."""
    async with services_of(request).store.write(ProjectRecord(id=projectId)) as tx:
        if not await store.delete_project(tx):
            raise refuse(Problem.PROJECT_NOT_FOUND)
    return respond(None)
