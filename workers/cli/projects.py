"""``realtime projects``: the projects that hubs know, and from where clients may connect.

New projects are made in the database, and a project that is there is changed there; hubs are told. One that a backend
of yours has written into the read model itself is changed in the read model, and stays out of the database.
"""

import asyncio
import re
from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec
import typer
from rich.text import Text
from sqlalchemy.exc import IntegrityError

from realtime.identity.model import CONSOLE, Platform, Project
from realtime.identity.store import IdentityStore
from realtime.permissions import is_valid_id
from realtime.settings import Settings
from workers.cli.context import load_settings, open_store, open_stores
from workers.cli.output import CommandError, show, show_table
from workers.models.projects import PROTOCOLS, SERVICES
from workers.store.ids import new_id
from workers.store.projects import (
    create_platform,
    create_project,
    delete_platform,
    delete_project,
    find_project,
    list_platforms,
)
from workers.store.projects import switch as switch_project
from workers.store.store import Store, Transaction

WEB_TYPES = frozenset({"web", "flutter-web", "unity"})
"""Types of platforms that are registered by host name (wire specification 2.6)."""
APP_SYSTEMS = ("ios", "android", "macos", "watchos", "tvos", "windows", "linux")
"""What the type of an app ends with: the systems whose SDKs have an origin of their own."""
DEFAULT_APP_TYPES = ("apple-ios", "android")

_HOST = re.compile(r"\*|(?:\*\.)?[^\s/:?#*@\[\]]+|\[[0-9A-Fa-f:.]+\]")

projects = typer.Typer(help="Create, list, open and delete projects.", no_args_is_help=True)

ProjectArgument = Annotated[str, typer.Argument(metavar="ID", help="The project's ID.")]
HostOption = Annotated[
    list[str] | None,
    typer.Option(help="A host name whose pages may connect, *.example.com, or *; may be repeated."),
]


@projects.command()
def create(
    project_id: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="1 to 255 of A-Z a-z 0-9 . _ - | @ +, the first a letter or digit."
        ),
    ],
    name: Annotated[str, typer.Option(help="A name for people.")] = "",
    host: HostOption = None,
) -> None:
    """Create a project."""
    asyncio.run(
        _create(load_settings(), Project(id=project_id, name=name, platforms=parse_platforms(host or ())))
    )
    show(Text("created ", "green"), f"project {project_id}")


@projects.command("list")
def list_() -> None:
    """List all projects: ID, name, hosts and apps."""
    listed = sorted(asyncio.run(_list(load_settings())), key=lambda project: project.id)
    show_table([(project.id, project.name, describe_platforms(project.platforms)) for project in listed])


@projects.command()
def allow(
    project_id: ProjectArgument,
    host: HostOption = None,
    app: Annotated[
        list[str] | None,
        typer.Option(help="An app that may connect, by bundle ID or package name; may be repeated."),
    ] = None,
    app_type: Annotated[
        list[str] | None,
        typer.Option(
            "--type",
            help="What the apps are, such as react-native-ios; may be repeated; apple-ios and android "
            "when left out.",
        ),
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Take them away instead; apps of every type without --type.")
    ] = False,
) -> None:
    """Let web pages of these hosts, and these apps, connect to a project that exists."""
    if not host and not app:
        raise CommandError("Give at least one --host or --app, for example --host app.example.com.")
    types = app_type or (() if remove else DEFAULT_APP_TYPES)
    check_app_types(types)
    named = parse_platforms(host or (), app or (), types or ("",))
    project = asyncio.run(_change_platforms(load_settings(), project_id, named, remove=remove))
    open_to = describe_platforms(project.platforms) or "no host and no app of its own"
    show(Text("changed ", "green"), f"project {project_id}: open to {open_to}")


@projects.command()
def switch(
    project_id: ProjectArgument,
    service: Annotated[str, typer.Argument(help=f"What to switch: {', '.join(SERVICES)} or websocket.")],
    state: Annotated[str, typer.Argument(help="on or off.")],
) -> None:
    """Open a part of the API to a project's pages and apps, or close it; servers with an API key are always served."""
    if service not in (*SERVICES, *PROTOCOLS):
        raise CommandError(f"{service!r} cannot be switched: {', '.join((*SERVICES, *PROTOCOLS))}.")
    if state not in ("on", "off"):
        raise CommandError(f"A switch is on or off, not {state!r}.")
    asyncio.run(_switch(load_settings(), project_id, service, is_on=state == "on"))
    show(Text("changed ", "green"), f"project {project_id}: {service} is {state}")


@projects.command()
def delete(project_id: ProjectArgument) -> None:
    """Delete a project; its open connections are closed."""
    asyncio.run(_delete(load_settings(), project_id))
    show(Text("deleted ", "green"), f"project {project_id}")


def parse_platforms(
    hosts: Iterable[str], apps: Iterable[str] = (), app_types: Sequence[str] = DEFAULT_APP_TYPES
) -> tuple[Platform, ...]:
    """Return the platforms of these hosts, and of these apps for each of the types.

    Raises:
        CommandError: a host is written with its scheme, port or path; none of them would ever match.
    """
    platforms = []
    for host in hosts:
        if _HOST.fullmatch(host) is None:
            raise CommandError(
                f"--host {host!r} must be the host's name alone: app.example.com, without :// or port."
            )
        platforms.append(Platform(type="web", hostname=host, name=host))
    return (*platforms, *(Platform(type=type_, key=key, name=key) for key in apps for type_ in app_types))


def check_app_types(types: Iterable[str]) -> None:
    """Refuse a type of app that no origin would match, with CommandError."""
    for type_ in types:
        if type_.rpartition("-")[2] not in APP_SYSTEMS:
            raise CommandError(
                f"--type {type_!r} is no type of app: it ends with {', '.join(APP_SYSTEMS[:-1])} or "
                f"{APP_SYSTEMS[-1]}, as in react-native-ios."
            )


def add_platforms(platforms: Sequence[Platform], more: Iterable[Platform]) -> tuple[Platform, ...]:
    """Return ``platforms`` with those of ``more`` that were not among them, in this order."""
    merged = list(platforms)
    for platform in more:
        if not any(is_covered(old, platform) for old in merged):
            merged.append(platform)
    return tuple(merged)


def remove_platforms(platforms: Iterable[Platform], named: Sequence[Platform]) -> tuple[Platform, ...]:
    """Return ``platforms`` without those that ``named`` stand for; what is not there is passed over."""
    return tuple(old for old in platforms if not any(is_covered(old, platform) for platform in named))


def is_covered(old: Platform, named: Platform) -> bool:
    """Tell whether ``named`` stands for ``old``.

    Hosts are the same in any case and for every web type; apps by key and type, or by key alone if ``named``
    has no type.
    """
    if named.type in WEB_TYPES or old.type in WEB_TYPES:
        same_kind = named.type in WEB_TYPES and old.type in WEB_TYPES
        return same_kind and old.hostname.lower() == named.hostname.lower()
    return old.key == named.key and named.type in ("", old.type)


def describe_platforms(platforms: Iterable[Platform]) -> str:
    """Return the hosts, and the apps with their types in brackets, separated by commas."""
    types: dict[str, list[str]] = {}
    for platform in platforms:
        of_name = types.setdefault(platform.hostname or platform.key, [])
        if platform.type not in WEB_TYPES:
            of_name.append(platform.type)
    return ", ".join(f"{name} ({', '.join(of_name)})" if of_name else name for name, of_name in types.items())


async def _create(settings: Settings, project: Project) -> None:
    if project.id == CONSOLE:
        raise CommandError(f"The ID {CONSOLE} is reserved.")
    if not is_valid_id(project.id):
        raise CommandError(f"{project.id!r} is not a valid ID.")
    async with open_stores(settings) as (store, identities, _):
        if await identities.get_project(project.id) is not None:
            raise _exists(project.id)
        try:
            async with store.write(project) as tx:
                await create_project(tx, name=project.name, platforms=project.platforms)
        except IntegrityError as error:
            raise _exists(project.id) from error


def _exists(project_id: str) -> CommandError:
    return CommandError(
        f"Project {project_id} exists already; `realtime projects allow` adds hosts and apps to it."
    )


async def _list(settings: Settings) -> list[Project]:
    async with open_store(settings) as identities:
        return list(await identities.list_projects())


async def _change_platforms(
    settings: Settings, project_id: str, named: Sequence[Platform], *, remove: bool
) -> Project:
    """Add or remove platforms, and return the project as it is then. Written only when something changes."""
    change = remove_platforms if remove else add_platforms
    async with open_stores(settings) as (store, identities, _):
        project = await require_project(identities, project_id)
        changed = msgspec.structs.replace(project, platforms=change(project.platforms, named))
        if await in_database(store, project_id):
            async with store.write(project) as tx:
                await _write_platforms(tx, named, remove=remove)
        elif changed != project:
            await identities.put_project(changed)
        return changed


async def _write_platforms(tx: Transaction, named: Sequence[Platform], *, remove: bool) -> None:
    rows = await list_platforms(tx.connection, tx.project.id)
    platforms = [
        Platform(type=row["type"], hostname=row["hostname"], key=row["key"], name=row["name"]) for row in rows
    ]
    if not remove:
        for platform in add_platforms(platforms, named)[len(platforms) :]:
            await create_platform(tx, new_id(), platform)
        return
    kept = remove_platforms(platforms, named)
    for row, platform in zip(rows, platforms, strict=True):
        if platform not in kept:
            await delete_platform(tx, row["id"])


async def _switch(settings: Settings, project_id: str, name: str, *, is_on: bool) -> None:
    async with open_stores(settings) as (store, identities, _):
        project = await require_project(identities, project_id)
        async with store.write(project) as tx:
            row = await switch_project(
                tx, "protocols" if name in PROTOCOLS else "services", name, is_on=is_on
            )
        if row is None:
            raise CommandError(
                f"Project {project_id} is not in the database: the API does not serve it anyway."
            )


async def _delete(settings: Settings, project_id: str) -> None:
    async with open_stores(settings) as (store, identities, _):
        project = await require_project(identities, project_id)
        async with store.write(project) as tx:
            is_deleted = await delete_project(tx)
        if not is_deleted:
            await identities.delete_project(project_id)


async def require_project(identities: IdentityStore, project_id: str) -> Project:
    """Return the record of a project; CommandError when there is none of this ID."""
    project = await identities.get_project(project_id)
    if project is None:
        raise CommandError(f"There is no project {project_id}.")
    return project


async def in_database(store: Store, project_id: str) -> bool:
    """Tell whether a project is in the database; if not, only the read model has it, from a backend of its own."""
    async with store.read() as connection:
        return await find_project(connection, project_id) is not None
