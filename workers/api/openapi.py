"""The OpenAPI document at ``/v1/openapi.json``, and the page at ``/docs`` that shows it, without the internet."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastapi_offline
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

DOCUMENT_PATH = "/v1/openapi.json"

_ASSETS = Path(fastapi_offline.__file__).parent / "static"
_FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css", "favicon.png": "image/png"}

DESCRIPTION = """\
The REST API, as Appwrite's SDKs call it. Each request names its project (`X-Appwrite-Project`) and who calls: an API
key (`X-Appwrite-Key`, for servers), a user (`X-Appwrite-Session` or `X-Appwrite-JWT`; browsers send a cookie), or
nobody, which is a guest.

**To try it here**, press *Authorize*, fill in `Project` and, for what guests may not do, `Key`; then *Try it out* on
an operation. With `make run` (`realtime dev`) the project is `demo`, and the key is in its terminal and in
`.data/dev-key`. Elsewhere `realtime projects create` and `realtime keys create` make them.

Realtime events come by WebSocket, at `/v1/realtime`, which is not in this list."""

TAGS: list[dict[str, Any]] = [
    {"name": name, "description": text}
    for name, text in (
        ("account", "Whoever calls, as a user: signing up, sessions, factors."),
        ("users", "The users of a project, for servers."),
        ("teams", "Teams, their members, and invitations."),
        ("tablesdb", "Databases of tables, columns and rows."),
        ("databases", "The same data by its former names: collections, attributes and documents."),
        ("storage", "Buckets and files."),
        ("tokens", "Links to files for people who may not read them otherwise."),
        ("functions", "Functions, their code and variables, and their executions."),
        ("webhooks", "Webhooks, and the log of what was delivered to them."),
        ("messaging", "Providers, topics, and messages."),
        ("presences", "Who is here, and what they do."),
        ("events", "Events of other servers, for whoever listens."),
        ("project", "The settings of the project itself: keys, platforms, what is open."),
        ("projects", "All projects, for whoever runs the server."),
        ("avatars", "Pictures: initials, flags, icons, codes."),
        ("locale", "Countries, currencies, languages, and where a caller is."),
        ("health", "How the server is."),
        ("ping", "Whether the project can be reached."),
    )
]
"""The services in the order of the page, which is not that of the routes."""

_METHODS = frozenset({"get", "post", "put", "patch", "delete"})

_ERROR = {
    "type": "object",
    "required": ["message", "code", "type", "version"],
    "properties": {
        "message": {"type": "string", "description": "For people."},
        "code": {"type": "integer", "description": "The HTTP status."},
        "type": {"type": "string", "description": "For programs, such as `user_not_found`."},
        "version": {"type": "string", "description": "The server's version."},
    },
}

_SECURITY_SCHEMES = {
    name: {"type": "apiKey", "name": header, "in": "header", "description": text}
    for name, header, text in (
        ("Project", "X-Appwrite-Project", "The project's ID."),
        ("Key", "X-Appwrite-Key", "The secret of an API key, for servers."),
        ("Session", "X-Appwrite-Session", "The secret of a user's session; browsers send a cookie instead."),
        ("JWT", "X-Appwrite-JWT", "A token of a user."),
    )
}
_SECURITY: list[dict[str, list[str]]] = [
    {"Project": [], "Key": []},
    {"Project": [], "Session": []},
    {"Project": [], "JWT": []},
    {"Project": []},
]


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Return FastAPI's document with what all routes share: errors in our form, and who may call.

    FastAPI would have invalid requests answered with 422, and successful ones with 200, whatever a route declares.
    """
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Error"] = _ERROR
    document["components"]["securitySchemes"] = _SECURITY_SCHEMES
    document["security"] = _SECURITY
    for operation in _operations(document):
        _name(operation)
        _repeat_lists(document, operation)
        responses = operation["responses"]
        responses.pop("422", None)
        if any(status.startswith("2") for status in responses if status != "200") and _is_default(
            responses.get("200", {})
        ):
            responses.pop("200", None)
        responses["default"] = {
            "description": "A refusal.",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        }
    return document


def _name(operation: dict[str, Any]) -> None:
    """Have an operation be called by the first sentence about it; FastAPI takes the name of a function."""
    said = " ".join(operation.get("description", "").partition("\n\n")[0].split())
    sentence, _, _ = said.partition(". ")
    if sentence:
        operation["summary"] = sentence.rstrip(".")


def _repeat_lists(document: dict[str, Any], operation: dict[str, Any]) -> None:
    """Say that members of lists in forms are fields of their own, which clients would join with commas."""
    form = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data")
    if form is None:
        return
    schema = form["schema"]
    name = schema.get("$ref", "").rpartition("/")[2]
    properties = (document["components"]["schemas"][name] if name else schema).get("properties", {})
    lists = [name for name, each in properties.items() if each.get("type") == "array"]
    if lists:
        form["encoding"] = {name: {"style": "form", "explode": True} for name in lists}


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document.get("paths", {}).values():
        yield from (operation for method, operation in path.items() if method in _METHODS)


def _is_default(response: dict[str, Any]) -> bool:
    """Tell whether nobody declared this response."""
    return not any(media.get("schema") for media in response.get("content", {}).values())


def page_routes(title: str) -> list[BaseRoute]:
    """Return the routes of the page and of what it loads."""

    async def page(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{root}{DOCUMENT_PATH}",
            title=title,
            swagger_js_url=f"{root}/docs/swagger-ui-bundle.js",
            swagger_css_url=f"{root}/docs/swagger-ui.css",
            swagger_favicon_url=f"{root}/docs/favicon.png",
            # More than four hundred operations: folded up, and to be searched by service.
            swagger_ui_parameters={"docExpansion": "none", "filter": True},
        )

    return [Route("/docs", page), Route("/docs/{name}", _asset)]


async def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _FILES:
        raise HTTPException(404)
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "public, max-age=86400"}
    return FileResponse(_ASSETS / name, media_type=_FILES[name], headers=headers)
