"""What requests for rows carry: the JSON of their bodies, parsed with little work since this path is the busiest."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from starlette.requests import Request

from workers.api.databases.words import Words
from workers.api.errors import bad_request
from workers.api.params import is_resource_id
from workers.api.problems import Problem, refuse
from workers.store.ids import UNIQUE, choose_id

ID_RULE = (
    "UID must contain at most 36 chars. Valid chars are a-z, A-Z, 0-9, period, hyphen, and underscore. Can't start "
    "with a special char."
)


async def read_json(request: Request) -> dict[str, Any]:
    """Return the body, a JSON object; an empty body is an empty object.

    Raises:
        ApiError: 400 for anything else.
    """
    text = await request.body()
    if not text:
        return {}
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"Invalid request body: it is not valid JSON ({error}).") from error
    if not isinstance(body, dict):
        raise bad_request("Invalid request body: it must be a JSON object.")
    return body


def data_of(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the member ``data``, an object or (as older SDKs send it) the text of one; None without it.

    Raises:
        ApiError: 400 for anything else.
    """
    data = body.get("data")
    if isinstance(data, str):
        try:
            data = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise bad_request("Invalid `data` param: Value must be a valid JSON object.") from error
    if data is not None and not isinstance(data, dict):
        raise bad_request("Invalid `data` param: Value must be a valid JSON object.")
    return data


def require_data(body: Mapping[str, Any], words: Words) -> dict[str, Any]:
    """Return the member ``data``.

    Raises:
        ApiError: 400 ``row_missing_data`` without it, or what :func:`data_of` refuses.
    """
    data = data_of(body)
    if data is None:
        raise refuse(Problem.ROW_MISSING_DATA, word=words.row)
    return data


def new_row_id(value: Any, name: str) -> str:
    """Return the ID of a row that is to be made: as chosen, or a new one for ``unique()``.

    Raises:
        ApiError: 400, it is none.
    """
    if value is None:
        raise bad_request(f'Param "{name}" is not optional.')
    if value != UNIQUE and not is_resource_id(value):
        raise bad_request(f"Invalid `{name}` param: {ID_RULE}")
    return choose_id(value)


def transaction_id_of(request: Request, body: Mapping[str, Any]) -> str:
    """Return the transaction that a request is part of; empty for none.

    Raises:
        ApiError: 400, it is no text.
    """
    value = body.get("transactionId") or request.query_params.get("transactionId") or ""
    if not isinstance(value, str):
        raise bad_request("Invalid `transactionId` param: Value must be a valid ID.")
    return value


def body_of(*members: str) -> Callable[[Words], dict[str, Any]]:
    """Return what the OpenAPI document says of a body, by vocabulary, since it is parsed without a model.

    Args:
        members: which of the members of :data:`_SCHEMAS` it may have; ``transactionId`` always.
    """

    def describe(words: Words) -> dict[str, Any]:
        names = {"rowId": f"{words.row}Id", "rows": words.rows}
        properties = {names.get(member, member): _SCHEMAS[member] for member in (*members, "transactionId")}
        schema = {"type": "object", "properties": properties}
        return {"requestBody": {"content": {"application/json": {"schema": schema}}}}

    return describe


_TEXTS = {"type": "array", "items": {"type": "string"}}
_NUMBER = {"type": "number"}
_SCHEMAS: dict[str, dict[str, Any]] = {
    "rowId": {"type": "string", "description": "An ID, or `unique()`."},
    "data": {"type": "object", "description": "Values by the keys of columns."},
    "permissions": _TEXTS | {"description": 'Such as `read("any")`.'},
    "rows": {"type": "array", "items": {"type": "object"}, "description": "Each with `$id`. For API keys."},
    "queries": _TEXTS | {"description": "Which rows; all if it is missing."},
    "value": _NUMBER | {"default": 1},
    "min": _NUMBER,
    "max": _NUMBER,
    "transactionId": {"type": "string", "description": "Stages the change in this transaction."},
}
