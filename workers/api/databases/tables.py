"""Routes of tables themselves: create, list, get, update, delete."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends
from sqlalchemy import delete, insert
from sqlalchemy.exc import IntegrityError
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import Caller, requires
from workers.api.databases.bodies import NewTable, TableChange
from workers.api.databases.definitions import add_column, add_index, parse_column, parse_index, remove_column
from workers.api.databases.lookup import TABLE, find_table, require_database, table_record
from workers.api.databases.place import Place, SchemaChange, emit_table, place
from workers.api.databases.retries import RetriedRoute
from workers.api.databases.routing import in_both
from workers.api.databases.shown import table_model
from workers.api.databases.words import Words, words_of
from workers.api.listing import ListParams, list_params
from workers.api.problems import Problem, refuse
from workers.api.responses import respond
from workers.api.services import services_of
from workers.models.databases import Collection, CollectionList, Table, TableList
from workers.store.conditions import contains_text
from workers.store.fields import Field
from workers.store.ids import choose_id
from workers.store.pages import fetch_page
from workers.store.row_tables import create_row_tables, drop_row_column, drop_row_tables
from workers.store.schema import Schema, TableRecord, encode_schema
from workers.store.store import Transaction
from workers.store.tables import tables

router = APIRouter(route_class=RetriedRoute)

_LISTED = TABLE.subquery()

FIELDS = {
    "$id": Field(_LISTED.c.id, "id"),
    "$createdAt": Field(_LISTED.c.created_at, "datetime"),
    "$updatedAt": Field(_LISTED.c.updated_at, "datetime"),
    "name": Field(_LISTED.c.name, "string"),
    "enabled": Field(_LISTED.c.enabled, "boolean"),
    "rowSecurity": Field(_LISTED.c.row_security, "boolean"),
    "documentSecurity": Field(_LISTED.c.row_security, "boolean"),
}
"""What tables are listed by."""

Reader = Annotated[Place, Depends(place("tables.read"))]
Writer = Annotated[Place, Depends(place("tables.write"))]


@in_both(
    router,
    "POST",
    lambda words: words.tables_path,
    name="create{Table}",
    models=(Table, Collection),
    status=201,
)
async def create_table(
    request: Request,
    databaseId: str,
    body: NewTable,
    caller: Annotated[Caller, Depends(requires("tables.write"))],
) -> Response:
    """Create a table, with columns and indexes if any are given."""
    words = words_of(request)
    async with services_of(request).store.write(caller.project) as tx:
        database = await require_database(tx.connection, caller.project.id, databaseId, lock=True)
        record = TableRecord(
            seq=0,
            id=choose_id(body.tableId),
            name=body.name,
            database_id=databaseId,
            database_type=database["type"],
            table_enabled=body.enabled,
            database_enabled=database["enabled"],
            row_security=body.rowSecurity,
            permissions=tuple(body.permissions or ()),
            created_at=tx.now_text,
            updated_at=tx.now_text,
            schema=_schema(body, tx.now_text, words),
        )
        await _require_related(tx, record, words)
        record = msgspec.structs.replace(record, seq=await _insert(tx, record, words))
        await create_row_tables(tx.connection, record)
        if any(column.relation is not None for column in record.schema.columns):
            # Nobody knows this table, but those that it leads to are known, and that nothing leads to them.
            await tx.change_schema()
        model = table_model(record, words)
        emit_table(tx, record, words, "create", model)
    return respond(model, 201)


def _schema(body: NewTable, now: str, words: Words) -> Schema:
    schema = Schema()
    for given in body.columns:
        schema = add_column(schema, *parse_column(given, words), now=now, words=words)
    for given in body.indexes:
        schema = add_index(schema, parse_index(given), now=now, words=words)
    return schema


async def _require_related(tx: Transaction, record: TableRecord, words: Words) -> None:
    """Refuse relationships to tables that are not there; a table may lead to itself."""
    for column in record.schema.columns:
        if column.relation is not None and column.relation.related_table_id != record.id:
            related_id = column.relation.related_table_id
            await find_table(tx.connection, tx.project.id, record.database_id, related_id, words=words)


async def _insert(tx: Transaction, record: TableRecord, words: Words) -> int:
    values = {
        "project_id": tx.project.id,
        "database_id": record.database_id,
        "id": record.id,
        "name": record.name,
        "enabled": record.table_enabled,
        "row_security": record.row_security,
        "permissions": list(record.permissions),
        "schema": encode_schema(record.schema),
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    }
    try:
        inserted = await tx.connection.execute(insert(tables).values(**values).returning(tables.c.seq))
    except IntegrityError as error:
        raise refuse(Problem.EXISTS, word=words.table) from error
    seq: int = inserted.scalar_one()
    return seq


@in_both(
    router,
    "GET",
    lambda words: words.tables_path,
    name="list{Table}s",
    models=(TableList, CollectionList),
)
async def list_tables(
    request: Request,
    databaseId: str,
    caller: Annotated[Caller, Depends(requires("tables.read"))],
    params: Annotated[ListParams, Depends(list_params)],
) -> Response:
    """List the tables of a database."""
    words = words_of(request)
    where = [_LISTED.c.project_id == caller.project.id, _LISTED.c.database_id == databaseId]
    if params.search:
        where.append(contains_text([_LISTED.c.id, _LISTED.c.name], params.search))
    async with services_of(request).store.read() as connection:
        await require_database(connection, caller.project.id, databaseId)
        page = await fetch_page(
            connection, _LISTED, FIELDS, params.query(FIELDS), where=where, count=params.total
        )
    models = [table_model(table_record(row), words) for row in page.rows]
    return respond({"total": page.total, words.tables: models})


@in_both(router, "GET", lambda words: words.table_path, name="get{Table}", models=(Table, Collection))
async def get_table(place: Reader) -> Response:
    """Return a table with its columns and indexes."""
    async with place.reading() as record:
        return respond(table_model(record, place.words))


@in_both(router, "PUT", lambda words: words.table_path, name="update{Table}", models=(Table, Collection))
async def update_table(place: Writer, body: TableChange) -> Response:
    """Rename a table, or change who may do what to its rows."""
    changes: dict[str, Any] = body.model_dump(exclude_none=True)
    if "rowSecurity" in changes:
        changes["row_security"] = changes.pop("rowSecurity")
    async with place.changing() as change:
        await change.update(changes)
        model = table_model(change.record, place.words)
        change.emit("update", model)
    return respond(model)


@in_both(router, "DELETE", lambda words: words.table_path, name="delete{Table}", models=(None, None))
async def delete_table(place: Writer) -> Response:
    """Delete a table with all its rows, and the columns of other tables that lead to it."""
    async with place.changing(lock_database=True) as change:
        await _drop_relationships(change, place.words)
        await drop_row_tables(change.connection, [change.record.seq])
        await change.connection.execute(delete(tables).where(tables.c.seq == change.record.seq))
        await change.tx.change_schema()
        change.emit("delete", table_model(change.record, place.words))
    return respond(None)


async def _drop_relationships(change: SchemaChange, words: Words) -> None:
    project_id, gone = change.tx.project.id, change.record
    statement = TABLE.where(
        tables.c.project_id == project_id,
        tables.c.database_id == gone.database_id,
        tables.c.seq != gone.seq,
    )
    found = await change.connection.execute(statement.order_by(tables.c.seq).with_for_update(of=tables))
    for row in found.mappings().all():
        other = SchemaChange(change.tx, table_record(row), words)
        for column in other.record.schema.columns:
            if column.relation is not None and column.relation.related_table_id == gone.id:
                schema, _ = remove_column(other.record.schema, column)
                await drop_row_column(change.connection, other.record, column)
                await other.store(schema)
