"""What the record of an execution says once it has ended. Pure. Source: wire specification 12.3."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from workers.functions.executor import FAILED, Failure, Outcome
from workers.functions.headers import MAX_VALUE_CHARS, kept_response_headers
from workers.models.functions import header_list
from workers.store.texts import storable

MAX_OUTPUT_CHARS = 4_000
"""How much of its logs, and of its errors, an execution keeps: the end of them."""

_CUT = "[WARNING] What came before was too long to be kept.\n"

_STATUS_CODES = range(100, 600)

_NO_STATUS = "The function's response has the status code {}, which is none: those go from 100 to 599."


def ended(outcome: Outcome, *, logging: bool) -> dict[str, Any]:
    """Return what the columns of an execution become with its outcome.

    The status code 0 is that of an execution that was not run. A response that gives it, or another that is none, has
    failed, and the errors say so.

    Args:
        outcome: what came of it.
        logging: whether the function wants its logs and errors kept. Why it failed is kept in any case.
    """
    outcome = _checked(outcome)
    has_failed = outcome.failure is not None or outcome.status >= FAILED
    return {
        "status": "failed" if has_failed else "completed",
        "response_status": outcome.status,
        "response_headers": header_list(_shown(kept_response_headers(outcome.headers))),
        "logs": tail(outcome.logs) if logging else "",
        "errors": tail(outcome.errors) if logging or outcome.failure is not None else "",
        "duration_s": round(max(outcome.duration_s, 0.0), 6),
        "due_at": None,
        "sealed_request": "",
    }


def all_headers(outcome: Outcome) -> list[Any]:
    """Return every header of the response, as the caller of a synchronous execution sees them."""
    return header_list(_shown(outcome.headers))


def body_text(outcome: Outcome) -> str:
    """Return the body of the response as text; what is not UTF-8 in it is replaced."""
    return outcome.body.decode(errors="replace")


def tail(text: str, limit: int = MAX_OUTPUT_CHARS) -> str:
    """Return what is kept of an output: its last ``limit`` characters, with a warning in front if more were there."""
    text = storable(text[-limit - 1 :]) if len(text) > limit else storable(text)
    return _CUT + text[-limit:] if len(text) > limit else text


def _checked(outcome: Outcome) -> Outcome:
    """Return the outcome, a failure if the code answered with something that is no status code."""
    was_not_run = outcome.status == 0 and outcome.failure is not None
    if was_not_run or outcome.status in _STATUS_CODES:
        return outcome
    errors = "\n".join(filter(None, (outcome.errors.rstrip("\n"), _NO_STATUS.format(outcome.status))))
    return dataclasses.replace(
        outcome, status=FAILED, errors=errors, failure=outcome.failure or Failure.CRASH
    )


def _shown(headers: Mapping[str, str]) -> dict[str, str]:
    return {storable(name): storable(str(value)[:MAX_VALUE_CHARS]) for name, value in headers.items()}
