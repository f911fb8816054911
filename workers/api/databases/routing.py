"""Routes that exist in both vocabularies: one handler under two paths."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter

from workers.api.databases.words import DOCUMENTS, TABLES, Words
from workers.api.responses import documented

Handler = Callable[..., Any]


def in_both(
    router: APIRouter,
    method: str,
    path: Callable[[Words], str],
    *,
    name: str,
    models: tuple[Any, Any],
    status: int = HTTPStatus.OK,
    body: Callable[[Words], dict[str, Any]] | None = None,
) -> Callable[[Handler], Handler]:
    """Return the decorator that makes a function the handler of a route in both vocabularies.

    Args:
        router: where the routes are added.
        method: the HTTP method.
        path: the path, by vocabulary.
        name: what the SDKs call it, with ``{Table}``, ``{Column}`` and ``{Row}`` for what the vocabularies call
            differently.
        models: what it answers with in the words of tables, and in those of documents.
        status: the status of success.
        body: what the OpenAPI document says of the body, for a handler that parses it without a model.
    """

    def register(handler: Handler) -> Handler:
        for words, model in zip((TABLES, DOCUMENTS), models, strict=True):
            called = name.format(
                Table=words.table.capitalize(), Column=words.column.capitalize(), Row=words.row.capitalize()
            )
            router.add_api_route(
                path(words),
                handler,
                methods=[method],
                tags=[words.tag],
                operation_id=f"{words.tag}{called[0].upper()}{called[1:]}",
                response_model=None,
                responses=documented(model, status),
                openapi_extra=None if body is None else body(words),
            )
        return handler

    return register
