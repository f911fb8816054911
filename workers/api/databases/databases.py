"""Routes of databases themselves: create, list, get, update, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from sqlalchemy import RowMapping, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from starlette.requests import Request
from starlette.responses import Response

from realtime.events.event import Event
from workers.api.access import Caller, requires
from workers.api.databases.bodies import DatabaseChange, NewDatabase
from workers.api.databases.lookup import require_database
from workers.api.databases.retries import RetriedRoute
from workers.api.databases.routing import in_both
from workers.api.databases.words import words_of
from workers.api.listing import ListParams, list_params
from workers.api.problems import Problem, refuse
from workers.api.responses import respond
from workers.api.services import services_of
from workers.models.databases import Database, DatabaseList, database_model
from workers.models.people import Row
from workers.store.conditions import contains_text
from workers.store.fields import Field
from workers.store.ids import choose_id
from workers.store.pages import fetch_page
from workers.store.row_tables import drop_row_tables
from workers.store.store import Transaction
from workers.store.tables import databases, tables

router = APIRouter(route_class=RetriedRoute)

FIELDS = {
    "$id": Field(databases.c.id, "id"),
    "$createdAt": Field(databases.c.created_at, "datetime"),
    "$updatedAt": Field(databases.c.updated_at, "datetime"),
    "name": Field(databases.c.name, "string"),
    "enabled": Field(databases.c.enabled, "boolean"),
    "type": Field(databases.c.type, "string"),
}
"""What databases are listed by."""

Reader = Annotated[Caller, Depends(requires("databases.read"))]
Writer = Annotated[Caller, Depends(requires("databases.write"))]


@in_both(router, "POST", lambda words: words.prefix, name="create", models=(Database, Database), status=201)
async def create_database(request: Request, body: NewDatabase, caller: Writer) -> Response:
    """Create a database. Its tables are reached in both vocabularies, whichever it was made with."""
    async with services_of(request).store.write(caller.project) as tx:
        row: dict[str, Any] = {
            "project_id": caller.project.id,
            "id": choose_id(body.databaseId),
            "name": body.name,
            "enabled": body.enabled,
            "type": words_of(request).database_type,
            "created_at": tx.now_text,
            "updated_at": tx.now_text,
        }
        try:
            await tx.connection.execute(insert(databases), row)
        except IntegrityError as error:
            raise refuse(Problem.DATABASE_EXISTS) from error
        _emit(tx, "create", row)
    return respond(database_model(row), 201)


@in_both(router, "GET", lambda words: words.prefix, name="list", models=(DatabaseList, DatabaseList))
async def list_databases(
    request: Request, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List the databases of the project, whichever vocabulary they were made with."""
    where = [databases.c.project_id == caller.project.id]
    if params.search:
        where.append(contains_text([databases.c.id, databases.c.name], params.search))
    async with services_of(request).store.read() as connection:
        page = await fetch_page(
            connection, databases, FIELDS, params.query(FIELDS), where=where, count=params.total
        )
    return respond({"total": page.total, "databases": [database_model(row) for row in page.rows]})


@in_both(router, "GET", lambda words: words.database_path, name="get", models=(Database, Database))
async def get_database(request: Request, databaseId: str, caller: Reader) -> Response:
    """Return a database."""
    async with services_of(request).store.read() as connection:
        return respond(database_model(await require_database(connection, caller.project.id, databaseId)))


@in_both(router, "PUT", lambda words: words.database_path, name="update", models=(Database, Database))
async def update_database(
    request: Request, databaseId: str, body: DatabaseChange, caller: Writer
) -> Response:
    """Rename a database, or open and close it to users."""
    async with services_of(request).store.write(caller.project) as tx:
        row = await require_database(tx.connection, caller.project.id, databaseId, lock=True)
        changes: dict[str, Any] = body.model_dump(exclude_none=True) | {"updated_at": tx.now_text}
        await tx.connection.execute(update(databases).where(databases.c.seq == row["seq"]).values(**changes))
        await tx.change_schema()
        changed = dict(row) | changes
        _emit(tx, "update", changed)
    return respond(database_model(changed))


@in_both(router, "DELETE", lambda words: words.database_path, name="delete", models=(None, None))
async def delete_database(request: Request, databaseId: str, caller: Writer) -> Response:
    """Delete a database with its tables and all their rows."""
    async with services_of(request).store.write(caller.project) as tx:
        row = await require_database(tx.connection, caller.project.id, databaseId, lock=True)
        await _drop_tables(tx, row)
        await tx.connection.execute(delete(databases).where(databases.c.seq == row["seq"]))
        await tx.change_schema()
        _emit(tx, "delete", row)
    return respond(None)


async def _drop_tables(tx: Transaction, database: RowMapping) -> None:
    own = (tables.c.project_id == tx.project.id, tables.c.database_id == database["id"])
    # In one order, so that two who lock several tables cannot wait for each other.
    found = await tx.connection.execute(
        select(tables.c.seq).where(*own).order_by(tables.c.seq).with_for_update()
    )
    await drop_row_tables(tx.connection, found.scalars().all())
    await tx.connection.execute(delete(tables).where(*own))


def _emit(tx: Transaction, action: str, row: Row) -> None:
    tx.emit(
        Event(
            f"databases.[databaseId].{action}",
            database_model(row),
            params={"databaseId": row["id"]},
            database_type=row["type"],
        )
    )
