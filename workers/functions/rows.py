"""The rows of executions that something other than a caller of the API sets off. Pure."""

import base64
import hashlib
from typing import Any

from workers.functions.executor import Trigger


def deterministic_id(*parts: str) -> str:
    """Return the ID of the execution that ``parts`` tell from all others: the same each time, 26 characters.

    No part has a NUL in it.
    """
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return base64.b32encode(digest)[:26].decode().lower()


def new_row(
    project_id: str,
    execution_id: str,
    function_id: str,
    *,
    trigger: Trigger,
    depth: int,
    now: str,
    **columns: Any,
) -> dict[str, Any]:
    """Return a row of ``executions``, but for its number: one that waits for its turn, if ``columns`` say nothing else.

    Args:
        project_id: the project.
        execution_id: the execution.
        function_id: the function.
        trigger: what sets it off.
        depth: how many executions, each of which set off the next, there are up to this one, which counts.
        now: the time, as the store keeps it.
        columns: what differs from an execution that an API key wants at once.
    """
    return {
        "project_id": project_id,
        "id": execution_id,
        "function_id": function_id,
        "deployment_id": "",
        "user_id": None,
        "origin": None,
        "permissions": [],
        "trigger": trigger,
        "depth": depth,
        "status": "waiting",
        "request_method": "POST",
        "request_path": "/",
        "request_headers": [],
        "response_status": 0,
        "response_headers": [],
        "logs": "",
        "errors": "",
        "duration_s": 0.0,
        "scheduled_at": None,
        "due_at": now,
        "attempts": 0,
        "sealed_request": "",
        "created_at": now,
        "updated_at": now,
        **columns,
    }


def never_run(reason: str) -> dict[str, Any]:
    """Return the columns of an execution that has failed before it began; ``reason`` is a sentence."""
    return {
        "status": "failed",
        "response_status": 0,
        "errors": f"The function was not run: {reason}",
        "due_at": None,
        "sealed_request": "",
    }


def too_deep(max_depth: int) -> str:
    """Return why an execution is not run that would make a chain longer than ``max_depth``."""
    return (
        f"it would be the end of a chain in which functions set off {max_depth} functions, one after another, and "
        "more may not (REALTIME_FUNCTIONS_MAX_DEPTH). This is what a function looks like that sets itself off."
    )
