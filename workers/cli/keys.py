"""``realtime keys``: the API keys of a project."""

import asyncio
import difflib
import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from realtime.identity.model import CONSOLE, ApiKey
from realtime.identity.store import IdentityStore
from realtime.settings import Settings
from workers.cli.context import load_settings, open_store, open_stores
from workers.cli.output import CommandError, note, show, show_table
from workers.cli.projects import in_database, require_project
from workers.store.ids import new_id
from workers.store.projects import create_key, delete_key, new_key_secret
from workers.store.times import from_unix

keys = typer.Typer(help="Create, list and delete a project's API keys.", no_args_is_help=True)

ProjectOption = Annotated[
    str | None, typer.Option(help="The project's ID; REALTIME_DEV_PROJECT when left out.")
]


@keys.command()
def create(
    name: Annotated[str, typer.Option(help="A name for people.")] = "",
    scope: Annotated[
        list[str] | None,
        typer.Option(help="Such as events.write, rows.read, realtime.read; * for all; may be repeated."),
    ] = None,
    ttl: Annotated[
        int | None, typer.Option(min=1, help="Seconds until it expires; never when left out.")
    ] = None,
    project: ProjectOption = None,
) -> None:
    """Create a key and print its secret: now and never again, for only its hash is kept."""
    if not scope:
        raise CommandError("Give at least one --scope, for example --scope events.write.")
    _check_scopes(scope)
    settings = load_settings()
    project_id = _project_id(settings, project)
    key = ApiKey(
        id=new_id(),
        name=name,
        scopes=tuple(scope),
        expires_at=time.time() + ttl if ttl is not None else None,
    )
    secret = new_key_secret()
    asyncio.run(_create(settings, project_id, key, secret))
    note(f"Key {key.id} of project {project_id}. Its secret, which is not shown again:")
    show(secret)


@keys.command("list")
def list_(project: ProjectOption = None) -> None:
    """List the keys of a project: ID, name, scopes, end."""
    settings = load_settings()
    listed = asyncio.run(_list(settings, _project_id(settings, project)))
    show_table([(key.id, key.name, ",".join(key.scopes), _end(key)) for key in listed])


@keys.command()
def delete(key_id: Annotated[str, typer.Argument(metavar="ID")], project: ProjectOption = None) -> None:
    """Delete a key; its open connections lose what it gave them."""
    settings = load_settings()
    asyncio.run(_delete(settings, _project_id(settings, project), key_id))
    show(Text("deleted ", "green"), f"key {key_id}")


def _project_id(settings: Settings, project: str | None) -> str:
    project_id = project or settings.dev_project
    if project_id == CONSOLE:
        raise CommandError(f"{CONSOLE} has no API keys: a key reads and publishes the events of one project.")
    return project_id


def _check_scopes(scopes: list[str]) -> None:
    """Refuse what the API refuses too: a misspelt scope would be a key that opens nothing."""
    # Here, since every command would wait for it: it comes with the routes of the API.
    from workers.api.projects.scopes import ALL, SCOPES  # noqa: PLC0415

    for scope in scopes:
        if scope != ALL and scope not in SCOPES:
            near = difflib.get_close_matches(scope, SCOPES, n=1)
            advice = f"is {near[0]} meant?" if near else "docs/reference/api.md names those of the routes."
            raise CommandError(f"There is no scope {scope!r}: {advice}")


def _end(key: ApiKey) -> str:
    if key.expires_at is None:
        return "never expires"
    return f"expires {datetime.fromtimestamp(key.expires_at, UTC):%Y-%m-%d %H:%M} UTC"


async def _create(settings: Settings, project_id: str, key: ApiKey, secret: str) -> None:
    async with open_stores(settings) as (store, identities, _):
        project = await require_project(identities, project_id)
        if not await in_database(store, project_id):
            await identities.put_key(project_id, key, secret)
            return
        async with store.write(project) as tx:
            await create_key(
                tx,
                key_id=key.id,
                name=key.name,
                scopes=key.scopes,
                expires_at=None if key.expires_at is None else from_unix(key.expires_at),
                secret=secret,
            )


async def _list(settings: Settings, project_id: str) -> list[ApiKey]:
    async with open_store(settings) as identities:
        await require_project(identities, project_id)
        return await identities.list_keys(project_id)


async def _delete(settings: Settings, project_id: str, key_id: str) -> None:
    async with open_stores(settings) as (store, identities, _):
        project = await require_project(identities, project_id)
        async with store.write(project) as tx:
            is_deleted = await delete_key(tx, key_id)
        # Of the read model alone, if a backend of its own has written it.
        if not is_deleted and not await _forget(identities, project_id, key_id):
            raise CommandError(f"Project {project_id} has no key {key_id}.")


async def _forget(identities: IdentityStore, project_id: str, key_id: str) -> bool:
    if key_id not in {key.id for key in await identities.list_keys(project_id)}:
        return False
    return await identities.delete_key(project_id, key_id)
