"""Routes that change a column: its default, its name, what values it takes. Values that are there stay as they are."""

from collections.abc import Callable
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from workers.api.databases.bodies import (
    KINDS,
    ColumnChange,
    EnumChange,
    FloatChange,
    IntegerChange,
    RelationshipChange,
    SizedChange,
)
from workers.api.databases.columns import require_column
from workers.api.databases.definitions import change_column, replace_column
from workers.api.databases.place import Place, place
from workers.api.databases.retries import RetriedRoute
from workers.api.databases.routing import Handler, in_both
from workers.api.databases.shown import column_model
from workers.api.problems import Problem, refuse
from workers.api.responses import respond
from workers.models.databases import Column
from workers.store.row_tables import has_longer_text

router = APIRouter(route_class=RetriedRoute)

Writer = Annotated[Place, Depends(place("columns.write"))]


def changes(*kinds: str) -> Callable[[Handler], Handler]:
    """Return the decorator that makes a function the handler that changes columns of these kinds."""

    def register(handler: Handler) -> Handler:
        for kind in kinds:
            in_both(
                router,
                "PATCH",
                lambda words, kind=kind: f"{words.columns_path}/{kind}/{{key}}",  # type: ignore[misc]
                name=f"update{kind.capitalize()}{{Column}}",
                models=(Column, Column),
            )(handler)
        return handler

    return register


@changes(
    "text", "mediumtext", "longtext", "email", "url", "ip", "boolean", "datetime", "point", "line", "polygon"
)
async def change_plain(request: Request, place: Writer, key: str, body: ColumnChange) -> Response:
    """Change a column: whether it is required, its default, its name."""
    return await _change(request, place, key, body)


@changes("string", "varchar")
async def change_sized(request: Request, place: Writer, key: str, body: SizedChange) -> Response:
    """Change a column of texts; its new size must suit the values that are there."""
    return await _change(request, place, key, body)


@changes("enum")
async def change_enum(request: Request, place: Writer, key: str, body: EnumChange) -> Response:
    """Change a column of texts out of a list; values that are there may be others."""
    return await _change(request, place, key, body)


@changes("integer", "bigint")
async def change_integer(request: Request, place: Writer, key: str, body: IntegerChange) -> Response:
    """Change a column of whole numbers; values that are there may be beyond its new range."""
    return await _change(request, place, key, body)


@changes("float")
async def change_float(request: Request, place: Writer, key: str, body: FloatChange) -> Response:
    """Change a column of floating-point numbers; values that are there may be beyond its new range."""
    return await _change(request, place, key, body)


async def _change(request: Request, place: Place, key: str, body: ColumnChange) -> Response:
    kind = KINDS[request.url.path.split("/")[-2]]
    async with place.changing() as change:
        column = require_column(change.record.schema, key, place.words)
        if (column.type, column.format) != (kind.column_type, kind.string_format):
            raise refuse(Problem.COLUMN_TYPE, word=place.words.column)
        schema = change_column(change.record.schema, column, body, now=change.tx.now_text, words=place.words)
        changed = next(each for each in schema.columns if each.number == column.number)
        if changed.size < column.size and await has_longer_text(
            change.connection, change.record, column, changed.size
        ):
            raise refuse(Problem.COLUMN_RESIZE, word=place.words.column)
        await change.store(schema)
        model = column_model(changed, place.words)
        change.emit_column("update", model)
    return respond(model)


@in_both(
    router,
    "PATCH",
    lambda words: f"{words.columns_path}/{{key}}/relationship",
    name="update{Column}Relationship",
    models=(Column, Column),
)
@in_both(
    router,
    "PATCH",
    lambda words: f"{words.columns_path}/relationship/{{key}}",
    name="updateRelationship{Column}",
    models=(Column, Column),
)
async def change_relationship(place: Writer, key: str, body: RelationshipChange) -> Response:
    """Change what happens to a row when the one that it leads to is deleted, or the name of the relationship."""
    async with place.changing() as change:
        column = require_column(change.record.schema, key, place.words)
        if column.relation is None:
            raise refuse(Problem.COLUMN_TYPE, word=place.words.column)
        on_delete = body.onDelete or column.relation.on_delete
        changed = msgspec.structs.replace(
            column,
            relation=msgspec.structs.replace(column.relation, on_delete=on_delete),
            updated_at=change.tx.now_text,
        )
        schema = replace_column(change.record.schema, column, changed, body.newKey, place.words)
        await change.store(schema)
        model = column_model(
            next(each for each in schema.columns if each.number == column.number), place.words
        )
        change.emit_column("update", model)
    return respond(model)
