"""What a request for an execution says: the request that the function gets, and when."""

import re
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from workers.api.params import Body
from workers.functions.headers import check_headers
from workers.store.times import from_iso

MAX_PATH_CHARS = 2048

_NOT_IN_PATH = re.compile(r"[\x00-\x20\x7f\ud800-\udfff]")

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]


def _check_path(value: str) -> str:
    if _NOT_IN_PATH.search(value):
        raise ValueError("Value must be a path, without spaces, control characters and halves of characters")
    return value if value.startswith("/") else f"/{value}"


def _check_time(value: str) -> str:
    try:
        return from_iso(value) if value else ""
    except ValueError:
        raise ValueError("Value must be a valid date in ISO 8601 format") from None


class NewExecution(Body):
    """An execution to be made."""

    body: str = ""
    is_async: Annotated[bool, Field(alias="async")] = False
    path: Annotated[str, Field(max_length=MAX_PATH_CHARS), AfterValidator(_check_path)] = "/"
    method: Method = "POST"
    headers: Annotated[dict[str, str], AfterValidator(check_headers), Field(default={})]
    scheduledAt: Annotated[str, Field(max_length=64), AfterValidator(_check_time)] | None = None

    def is_late(self, now: datetime) -> bool:
        """Tell whether it is to be run at a time that has passed."""
        return bool(self.scheduledAt) and datetime.fromisoformat(str(self.scheduledAt)) <= now.astimezone(UTC)
