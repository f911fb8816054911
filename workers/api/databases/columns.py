"""Routes of columns: create one of each kind, list, get, delete. Those that change one are in ``column_changes``."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from workers.api.databases.bodies import (
    KINDS,
    NewColumn,
    NewEnum,
    NewFloat,
    NewInteger,
    NewRelationship,
    NewShape,
    NewSizedText,
    NewText,
    NewVarchar,
)
from workers.api.databases.definitions import add_column, remove_column
from workers.api.databases.lookup import find_table
from workers.api.databases.parts import list_parts
from workers.api.databases.place import Place, place
from workers.api.databases.retries import RetriedRoute
from workers.api.databases.routing import Handler, in_both
from workers.api.databases.shown import column_model
from workers.api.databases.words import Words
from workers.api.listing import ListParams, list_params
from workers.api.problems import Problem, refuse
from workers.api.responses import respond
from workers.models.databases import AttributeList, Column, ColumnList
from workers.store.row_tables import add_row_column, drop_row_column, drop_row_index
from workers.store.schema import Column as SchemaColumn
from workers.store.schema import Schema

router = APIRouter(route_class=RetriedRoute)

Reader = Annotated[Place, Depends(place("columns.read"))]
Writer = Annotated[Place, Depends(place("columns.write"))]

LISTED = ("key", "type", "size", "required", "array", "status", "error", "$createdAt", "$updatedAt")
"""What columns are listed by."""

_SDK_NAMES = {"bigint": "BigInt"}
"""What SDKs call kinds whose name is more than their path with a capital."""


def creates(*kinds: str) -> Callable[[Handler], Handler]:
    """Return the decorator that makes a function the handler that creates columns of these kinds."""

    def register(handler: Handler) -> Handler:
        for kind in kinds:
            in_both(
                router,
                "POST",
                lambda words, kind=kind: f"{words.columns_path}/{kind}",  # type: ignore[misc]
                name=f"create{_SDK_NAMES.get(kind, kind.capitalize())}{{Column}}",
                models=(Column, Column),
                status=HTTPStatus.ACCEPTED,
            )(handler)
        return handler

    return register


@creates("text", "mediumtext", "longtext")
async def create_text(request: Request, place: Writer, body: NewText) -> Response:
    """Add a column of texts."""
    return await _create(request, place, body)


@creates("string")
async def create_string(request: Request, place: Writer, body: NewSizedText) -> Response:
    """Add a column of texts with a limit of characters."""
    return await _create(request, place, body)


@creates("varchar")
async def create_varchar(request: Request, place: Writer, body: NewVarchar) -> Response:
    """Add a column of short texts with a limit of characters."""
    return await _create(request, place, body)


@creates("email", "url", "ip", "boolean", "datetime")
async def create_plain(request: Request, place: Writer, body: NewColumn) -> Response:
    """Add a column of values that need no further description."""
    return await _create(request, place, body)


@creates("enum")
async def create_enum(request: Request, place: Writer, body: NewEnum) -> Response:
    """Add a column of texts out of a list."""
    return await _create(request, place, body)


@creates("integer", "bigint")
async def create_integer(request: Request, place: Writer, body: NewInteger) -> Response:
    """Add a column of whole numbers of 64 bits."""
    return await _create(request, place, body)


@creates("float")
async def create_float(request: Request, place: Writer, body: NewFloat) -> Response:
    """Add a column of floating-point numbers."""
    return await _create(request, place, body)


@creates("point", "line", "polygon")
async def create_shape(request: Request, place: Writer, body: NewShape) -> Response:
    """Add a column of points, lines or polygons."""
    return await _create(request, place, body)


@creates("relationship")
async def create_relationship(request: Request, place: Writer, body: NewRelationship) -> Response:
    """Add a column that holds which rows of another table belong to a row: one, or a list of them."""
    return await _create(request, place, body)


async def _create(request: Request, place: Place, body: NewColumn | NewShape | NewRelationship) -> Response:
    kind = KINDS[request.url.path.rpartition("/")[2]]
    is_relationship = isinstance(body, NewRelationship)
    async with place.changing(lock_database=is_relationship) as change:
        if isinstance(body, NewRelationship):
            await find_table(
                change.connection,
                place.caller.project.id,
                place.database_id,
                body.relatedTableId,
                words=place.words,
            )
        schema = add_column(change.record.schema, kind, body, now=change.tx.now_text, words=place.words)
        await add_row_column(change.connection, change.record, schema.columns[-1])
        await change.store(schema)
        model = column_model(schema.columns[-1], place.words)
        change.emit_column("create", model)
    return respond(model, HTTPStatus.ACCEPTED)


@in_both(
    router,
    "GET",
    lambda words: words.columns_path,
    name="list{Column}s",
    models=(ColumnList, AttributeList),
)
async def list_columns(place: Reader, params: Annotated[ListParams, Depends(list_params)]) -> Response:
    """List the columns of a table."""
    query = params.query(LISTED)
    async with place.reading() as record:
        models = [column_model(column, place.words) for column in record.schema.columns]
    total, page = list_parts(models, query)
    return respond({"total": total if params.total else 0, place.words.columns: page})


@in_both(
    router,
    "GET",
    lambda words: f"{words.columns_path}/{{key}}",
    name="get{Column}",
    models=(Column, Column),
)
async def get_column(place: Reader, key: str) -> Response:
    """Return a column."""
    async with place.reading() as record:
        return respond(column_model(require_column(record.schema, key, place.words), place.words))


@in_both(
    router,
    "DELETE",
    lambda words: f"{words.columns_path}/{{key}}",
    name="delete{Column}",
    models=(None, None),
)
async def delete_column(place: Writer, key: str) -> Response:
    """Delete a column with what is in it, and the indexes on it."""
    async with place.changing() as change:
        column = require_column(change.record.schema, key, place.words)
        schema, indexes = remove_column(change.record.schema, column)
        for index in indexes:
            await drop_row_index(change.connection, change.record, index)
        await drop_row_column(change.connection, change.record, column)
        await change.store(schema)
        change.emit_column("delete", column_model(column, place.words))
    return respond(None)


def require_column(schema: Schema, key: str, words: Words) -> SchemaColumn:
    """Return the column with this key.

    Raises:
        ApiError: 404 ``column_not_found``.
    """
    column = schema.column(key)
    if column is None:
        raise refuse(Problem.NOT_FOUND, word=words.column)
    return column
