"""``realtime projects``: the projects that hubs know, in the read model."""

import asyncio
from typing import Annotated

import typer
from rich.text import Text

from realtime.identity.model import Platform, Project
from realtime.settings import Settings
from workers.cli.context import load_settings, open_store
from workers.cli.output import CommandError, show, show_table

projects = typer.Typer(help="Create, list and delete projects.", no_args_is_help=True)


@projects.command()
def create(
    project_id: Annotated[str, typer.Argument(metavar="ID", help="1 to 36 of A-Z a-z 0-9 . _ -")],
    name: Annotated[str, typer.Option(help="A name for people.")] = "",
    host: Annotated[
        list[str] | None,
        typer.Option(help="A host name whose pages may connect, or *.example.com; may be repeated."),
    ] = None,
) -> None:
    """Create a project."""
    platforms = tuple(Platform(type="web", hostname=hostname, name=hostname) for hostname in host or ())
    asyncio.run(_create(load_settings(), Project(id=project_id, name=name, platforms=platforms)))
    show(Text("created ", "green"), f"project {project_id}")


@projects.command("list")
def list_() -> None:
    """List all projects: ID, name, hosts."""
    listed = sorted(asyncio.run(_list(load_settings())), key=lambda project: project.id)
    show_table([(project.id, project.name, _hosts(project)) for project in listed])


@projects.command()
def delete(project_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Delete a project; its open connections are closed."""
    asyncio.run(_delete(load_settings(), project_id))
    show(Text("deleted ", "green"), f"project {project_id}")


def _hosts(project: Project) -> str:
    return ", ".join(platform.hostname or platform.key for platform in project.platforms)


async def _create(settings: Settings, project: Project) -> None:
    async with open_store(settings) as store:
        if await store.get_project(project.id) is not None:
            raise CommandError(f"Project {project.id} exists already.")
        await store.put_project(project)


async def _list(settings: Settings) -> list[Project]:
    async with open_store(settings) as store:
        return list(await store.list_projects())


async def _delete(settings: Settings, project_id: str) -> None:
    async with open_store(settings) as store:
        if await store.get_project(project_id) is None:
            raise CommandError(f"There is no project {project_id}.")
        await store.delete_project(project_id)
