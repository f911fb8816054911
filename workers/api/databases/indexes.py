"""Routes of indexes: create, list, get, delete."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends
from sqlalchemy.exc import IntegrityError
from starlette.responses import Response

from workers.api.databases.bodies import NewIndex
from workers.api.databases.definitions import add_index, remove_index
from workers.api.databases.parts import list_parts
from workers.api.databases.place import Place, place
from workers.api.databases.retries import RetriedRoute
from workers.api.databases.routing import in_both
from workers.api.databases.shown import index_model
from workers.api.databases.words import Words
from workers.api.listing import ListParams, list_params
from workers.api.problems import Problem, refuse
from workers.api.responses import respond
from workers.models.databases import AttributeIndex, AttributeIndexList, ColumnIndex, ColumnIndexList
from workers.store.row_tables import create_row_index, drop_row_index
from workers.store.schema import Index, Schema

router = APIRouter(route_class=RetriedRoute)

Reader = Annotated[Place, Depends(place("indexes.read"))]
Writer = Annotated[Place, Depends(place("indexes.write"))]

LISTED = ("key", "type", "status", "error", "$id", "$createdAt", "$updatedAt")
"""What indexes are listed by."""


@in_both(
    router,
    "POST",
    lambda words: words.indexes_path,
    name="createIndex",
    models=(ColumnIndex, AttributeIndex),
    status=HTTPStatus.ACCEPTED,
)
async def create_index(place: Writer, body: NewIndex) -> Response:
    """Add an index. A unique one is refused where rows are equal already."""
    async with place.changing() as change:
        schema = add_index(change.record.schema, body, now=change.tx.now_text, words=place.words)
        index = schema.indexes[-1]
        try:
            await create_row_index(change.connection, change.record, index)
        except IntegrityError as error:
            raise refuse(
                Problem.INDEX_INVALID,
                word=place.words.index,
                reason="Rows with equal values are there already.",
            ) from error
        await change.store(schema)
        model = index_model(index, place.words)
        change.emit_index("create", model)
    return respond(model, HTTPStatus.ACCEPTED)


@in_both(
    router,
    "GET",
    lambda words: words.indexes_path,
    name="listIndexes",
    models=(ColumnIndexList, AttributeIndexList),
)
async def list_indexes(place: Reader, params: Annotated[ListParams, Depends(list_params)]) -> Response:
    """List the indexes of a table."""
    query = params.query(LISTED)
    async with place.reading() as record:
        models = [index_model(index, place.words) for index in record.schema.indexes]
    total, page = list_parts(models, query)
    return respond({"total": total if params.total else 0, "indexes": page})


@in_both(
    router,
    "GET",
    lambda words: f"{words.indexes_path}/{{key}}",
    name="getIndex",
    models=(ColumnIndex, AttributeIndex),
)
async def get_index(place: Reader, key: str) -> Response:
    """Return an index."""
    async with place.reading() as record:
        return respond(index_model(_require_index(record.schema, key, place.words), place.words))


@in_both(
    router,
    "DELETE",
    lambda words: f"{words.indexes_path}/{{key}}",
    name="deleteIndex",
    models=(None, None),
)
async def delete_index(place: Writer, key: str) -> Response:
    """Delete an index."""
    async with place.changing() as change:
        index = _require_index(change.record.schema, key, place.words)
        await drop_row_index(change.connection, change.record, index)
        await change.store(remove_index(change.record.schema, index))
        change.emit_index("delete", index_model(index, place.words))
    return respond(None)


def _require_index(schema: Schema, key: str, words: Words) -> Index:
    index = schema.index(key)
    if index is None:
        raise refuse(Problem.INDEX_NOT_FOUND, word=words.index)
    return index
