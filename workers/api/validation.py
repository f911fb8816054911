"""How a request that FastAPI cannot read is explained to the caller. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError


def explain(error: RequestValidationError) -> str:
    """Return the message for the first thing that is wrong, in the words that the SDKs' users know."""
    errors: Sequence[Mapping[str, Any]] = error.errors()
    return explain_first(errors[0]) if errors else "The request is not valid."


def explain_first(detail: Mapping[str, Any]) -> str:
    """Return the message for one entry of pydantic's list of errors."""
    where, *path = detail["loc"]
    if where == "body" and (not path or detail["type"] == "json_invalid"):
        return f"Invalid request body: {_body_reason(detail)}"
    name = ".".join(str(part) for part in path)
    if detail["type"] == "missing":
        return f'Param "{name}" is not optional.'
    reason = str(detail["msg"]).removeprefix("Value error, ").rstrip(".")
    return f"Invalid `{name}` param: {reason}."


def _body_reason(detail: Mapping[str, Any]) -> str:
    if detail["type"] == "json_invalid":
        return f"it is not valid JSON ({detail.get('ctx', {}).get('error', detail['msg'])})."
    return "it must be a JSON object."
