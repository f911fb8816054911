"""The kinds of parameters that many routes share, each with its limits, for pydantic to check.

A route's body is a pydantic model with fields of these kinds, named as the API names them (``userId``).
"""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from realtime.permissions import is_valid_id
from workers.store.ids import UNIQUE
from workers.store.times import from_iso

MAX_ID_CHARS = 36

_RULE = (
    "Valid chars are a-z, A-Z, 0-9, period, hyphen, and underscore. Can't start with a special char. Max length is 36 "
    "chars."
)


def _check_custom_id(value: str) -> str:
    if value == UNIQUE or (is_valid_id(value) and len(value) <= MAX_ID_CHARS):
        return value
    raise ValueError(f"Parameter must contain at most 36 chars. {_RULE}")


def is_resource_id(text: object) -> bool:
    """Tell whether ``text`` can be the ID of a resource of a project; others are not even looked up."""
    return isinstance(text, str) and len(text) <= MAX_ID_CHARS and is_valid_id(text)


CustomId = Annotated[
    str, AfterValidator(_check_custom_id), Field(description=f"An ID, or `unique()`. {_RULE}")
]
"""An ID that the caller chooses, or ``unique()``."""


def _check_time(value: str) -> str:
    try:
        return from_iso(value)
    except ValueError:
        raise ValueError("Value must be a valid date in ISO 8601 format") from None


Time = Annotated[str, AfterValidator(_check_time), Field(max_length=64)]
"""A time in ISO 8601, as the store keeps it."""

Name = Annotated[str, Field(min_length=1, max_length=128)]
"""A name for people."""


class Body(BaseModel):
    """The body of a request. Members that no route knows are ignored, as newer SDKs may send them."""

    model_config = ConfigDict(extra="ignore", strict=False, str_strip_whitespace=False)
