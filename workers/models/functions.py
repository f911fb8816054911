"""Functions with their variables, deployments and executions, as clients are shown them. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import TypedDict

from workers.models.people import Row

ENGINE_VERSION = "v5"
"""The version of the interface between functions and what runs them that functions are written for."""

UNBOUNDED = "unbounded"
"""The one specification there is: what the machine has."""

Variable = TypedDict(
    "Variable",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "key": str,
        "value": str,
        "secret": bool,
        "resourceType": str,
        "resourceId": str,
    },
)
"""A variable of a function's environment; ``value`` is empty if it is secret."""


class VariableList(TypedDict):
    """A page of variables."""

    total: int
    variables: list[Variable]


Function = TypedDict(
    "Function",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "execute": list[str],
        "name": str,
        "enabled": bool,
        "live": bool,
        "logging": bool,
        "runtime": str,
        "deploymentRetention": int,
        "deploymentId": str,
        "deploymentCreatedAt": str,
        "latestDeploymentId": str,
        "latestDeploymentCreatedAt": str,
        "latestDeploymentStatus": str,
        "scopes": list[str],
        "vars": list[Variable],
        "events": list[str],
        "schedule": str,
        "timeout": int,
        "entrypoint": str,
        "commands": str,
        "version": str,
        "installationId": str,
        "providerRepositoryId": str,
        "providerBranch": str,
        "providerRootDirectory": str,
        "providerSilentMode": bool,
        "providerBranches": list[str],
        "providerPaths": list[str],
        "buildSpecification": str,
        "runtimeSpecification": str,
    },
)
"""A function. ``live`` tells whether its active deployment was made with the entrypoint and commands that it has now;
members about version control are always empty."""


class FunctionList(TypedDict):
    """A page of functions."""

    total: int
    functions: list[Function]


Deployment = TypedDict(
    "Deployment",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "type": str,
        "resourceId": str,
        "resourceType": str,
        "entrypoint": str,
        "sourceSize": int,
        "buildSize": int,
        "totalSize": int,
        "buildId": str,
        "activate": bool,
        "screenshotLight": str,
        "screenshotDark": str,
        "status": str,
        "buildLogs": str,
        "buildDuration": int,
        "providerRepositoryName": str,
        "providerRepositoryOwner": str,
        "providerRepositoryUrl": str,
        "providerCommitHash": str,
        "providerCommitAuthorUrl": str,
        "providerCommitAuthor": str,
        "providerCommitMessage": str,
        "providerCommitUrl": str,
        "providerBranch": str,
        "providerBranchUrl": str,
    },
)
"""The code of a function, as it was uploaded. Nothing is built of it, so members about builds are empty."""


class DeploymentList(TypedDict):
    """A page of deployments."""

    total: int
    deployments: list[Deployment]


class Header(TypedDict):
    """A header of a request or response."""

    name: str
    value: str


Execution = TypedDict(
    "Execution",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "$permissions": list[str],
        "functionId": str,
        "deploymentId": str,
        "trigger": str,
        "status": str,
        "requestMethod": str,
        "requestPath": str,
        "requestHeaders": list[Header],
        "responseStatusCode": int,
        "responseBody": str,
        "responseHeaders": list[Header],
        "logs": str,
        "errors": str,
        "duration": float,
        "scheduledAt": str,
    },
)
"""One run of a function. ``duration`` is in seconds; ``logs`` and ``errors`` are for servers only."""


class ExecutionList(TypedDict):
    """A page of executions."""

    total: int
    executions: list[Execution]


Runtime = TypedDict(
    "Runtime",
    {
        "$id": str,
        "key": str,
        "name": str,
        "version": str,
        "base": str,
        "image": str,
        "logo": str,
        "supports": list[str],
    },
)
"""A language that functions may be written in, in one of its versions."""


class RuntimeList(TypedDict):
    """All runtimes."""

    total: int
    runtimes: list[Runtime]


class Specification(TypedDict):
    """How much of a machine an execution gets. ``memory`` is in MB; 0 is no bound."""

    memory: int
    cpus: float
    enabled: bool
    slug: str


class SpecificationList(TypedDict):
    """All specifications."""

    total: int
    specifications: list[Specification]


def variable_model(row: Row, value: str) -> Variable:
    """Return the model of a row of ``variables``, with the unsealed ``value`` unless it is secret."""
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "key": row["key"],
        "value": "" if row["secret"] else value,
        "secret": row["secret"],
        "resourceType": "function",
        "resourceId": row["function_id"],
    }


def function_model(
    row: Row, *, active: Row | None = None, latest: Row | None = None, variables: Sequence[Variable] = ()
) -> Function:
    """Return the model of a row of ``functions``.

    Args:
        row: the function.
        active: the row of its active deployment; None when there is none.
        latest: the row of its newest deployment; None when there is none.
        variables: its variables.
    """
    newest: Row = latest or {}
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "execute": row["execute"],
        "name": row["name"],
        "enabled": row["enabled"],
        "live": active is None or _settings(active) == _settings(row),
        "logging": row["logging"],
        "runtime": row["runtime"],
        "deploymentRetention": 0,
        "deploymentId": row["deployment_id"] or "",
        "deploymentCreatedAt": "" if active is None else active["created_at"],
        "latestDeploymentId": newest.get("id", ""),
        "latestDeploymentCreatedAt": newest.get("created_at", ""),
        "latestDeploymentStatus": newest.get("status", ""),
        "scopes": row["scopes"],
        "vars": list(variables),
        "events": row["events"],
        "schedule": row["schedule"],
        "timeout": row["timeout_s"],
        "entrypoint": row["entrypoint"],
        "commands": row["commands"],
        "version": ENGINE_VERSION,
        "installationId": "",
        "providerRepositoryId": "",
        "providerBranch": "",
        "providerRootDirectory": "",
        "providerSilentMode": False,
        "providerBranches": [],
        "providerPaths": [],
        "buildSpecification": UNBOUNDED,
        "runtimeSpecification": UNBOUNDED,
    }


def _settings(row: Row) -> tuple[str, str]:
    return row["entrypoint"], row["commands"]


def deployment_model(row: Row) -> Deployment:
    """Return the model of a row of ``deployments``."""
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "type": "manual",
        "resourceId": row["function_id"],
        "resourceType": "functions",
        "entrypoint": row["entrypoint"],
        "sourceSize": row["size_bytes"],
        "buildSize": 0,
        "totalSize": row["size_bytes"],
        "buildId": "",
        "activate": row["activate"],
        "screenshotLight": "",
        "screenshotDark": "",
        "status": row["status"],
        "buildLogs": row["build_logs"],
        "buildDuration": 0,
        "providerRepositoryName": "",
        "providerRepositoryOwner": "",
        "providerRepositoryUrl": "",
        "providerCommitHash": "",
        "providerCommitAuthorUrl": "",
        "providerCommitAuthor": "",
        "providerCommitMessage": "",
        "providerCommitUrl": "",
        "providerBranch": "",
        "providerBranchUrl": "",
    }


def execution_model(row: Row, *, shows_output: bool = False) -> Execution:
    """Return the model of a row of ``executions``, without the body of the response, which is never kept.

    Args:
        row: the execution.
        shows_output: whether logs and errors are in it: whoever reads the model is a server.
    """
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "$permissions": row["permissions"],
        "functionId": row["function_id"],
        "deploymentId": row["deployment_id"],
        "trigger": row["trigger"],
        "status": row["status"],
        "requestMethod": row["request_method"],
        "requestPath": row["request_path"],
        "requestHeaders": row["request_headers"],
        "responseStatusCode": row["response_status"],
        "responseBody": "",
        "responseHeaders": row["response_headers"],
        "logs": row["logs"] if shows_output else "",
        "errors": row["errors"] if shows_output else "",
        "duration": row["duration_s"],
        "scheduledAt": row["scheduled_at"] or "",
    }


def header_list(headers: Mapping[str, Any]) -> list[Header]:
    """Return headers as models have them."""
    return [{"name": name, "value": str(value)} for name, value in headers.items()]
