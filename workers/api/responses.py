"""What routes answer with: models as JSON, and how the OpenAPI document shows them."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response


def respond(model: Mapping[str, Any] | Sequence[Any] | None, status: int = HTTPStatus.OK) -> Response:
    """Return the response with ``model`` as its JSON; 204 without a body for None."""
    if model is None:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    return Response(orjson.dumps(model), status_code=status, media_type="application/json")


def documented(model: Any, status: int = HTTPStatus.OK) -> dict[int | str, dict[str, Any]]:
    """Return the argument ``responses`` of a route that succeeds with ``status`` and ``model``, a TypedDict.

    None stands for an answer without a body. :mod:`workers.api.openapi` adds the errors, which all routes share.
    """
    if model is None:
        return {int(HTTPStatus.NO_CONTENT): {"description": "No content"}}
    return {int(status): {"model": model, "description": HTTPStatus(status).phrase}}
