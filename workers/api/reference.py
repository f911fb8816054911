"""The page ``docs/reference/api.md``: every route, what it needs and what it does, and every refusal.

Printed by running this module.
"""

import re
import sys
from collections.abc import Collection, Iterator
from itertools import groupby
from typing import NamedTuple

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from realtime.bus import RedisBus, connect
from realtime.identity.resolver import Resolver
from realtime.identity.store import IdentityStore
from realtime.settings import Settings
from workers.api.access import GUEST_SCOPES, USER_SCOPES, Requirement
from workers.api.app import create_app
from workers.api.problems import Problem
from workers.api.services import Services

_METHODS = ("POST", "GET", "PUT", "PATCH", "DELETE")


class Operation(NamedTuple):
    """One line of the page."""

    service: str
    method: str
    path: str
    scope: str
    """Empty for routes that check their callers in another way, or let anybody in."""
    text: str


def operations(app: FastAPI) -> Iterator[Operation]:
    """Yield what ``app`` can do, in the order of its routes."""
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute) and route.include_in_schema:
            scopes = list(_scopes(route.dependant))
            text = route.description.partition("\n\n")[0].replace("\n", " ").replace("``", "`").strip()
            service = route.path.removeprefix("/v1/").partition("/")[0]
            for method in sorted(route.methods or (), key=_METHODS.index):
                yield Operation(service, method, route.path, scopes[0] if scopes else "", text)


def _scopes(dependant: Dependant) -> Iterator[str]:
    for dependency in dependant.dependencies:
        if isinstance(dependency.call, Requirement):
            yield dependency.call.scope
        yield from _scopes(dependency)


def unconnected_app() -> FastAPI:
    """Return the API as it would be served, without a connection to anything: it must not be called."""
    # With a key of its own: otherwise one would be made in the data folder.
    settings = Settings(encryption_keys=("of no use to anybody",))
    redis = connect("redis://localhost")
    identities = IdentityStore(redis)
    services = Services.from_settings(
        settings,
        identities=identities,
        resolver=Resolver(identities, None, clock=lambda: 0.0),
        bus=RedisBus(redis),
    )
    return create_app(services=services)


def reference_page() -> str:
    """Return ``docs/reference/api.md``."""
    lines = [
        "# REST API",
        "",
        "Every route, with the scope that an API key needs for it. People have scopes too, and what they may do with a",
        f"single resource is said by its permissions. Guests: {_listed(GUEST_SCOPES)}. Who is logged in, also:",
        f"{_listed(USER_SCOPES - GUEST_SCOPES)}.",
        "A running server shows parameters and answers at `/docs`, and as OpenAPI at `/v1/openapi.json`.",
        "This page is generated from the code by `python -m workers.api.reference`.",
        "",
    ]
    listed = sorted(operations(unconnected_app()), key=lambda operation: operation.service)
    for service, group in groupby(listed, key=lambda operation: operation.service):
        lines += [f"## {service}", "", "| Call | Scope | What it does |", "| --- | --- | --- |"]
        for operation in group:
            scope = f"`{operation.scope}`" if operation.scope else ""
            lines.append(f"| `{operation.method} {operation.path}` | {scope} | {operation.text} |")
        lines.append("")
    return "\n".join([*lines, *_refusals()])


def _listed(scopes: Collection[str]) -> str:
    return ", ".join(f"`{scope}`" for scope in sorted(scopes))


def _refusals() -> Iterator[str]:
    """Yield the lines of the section about what is refused."""
    yield from (
        "## Refusals",
        "",
        "A refusal has the body `{message, code, type, version}`; `code` is the HTTP status. What stands in `<...>`",
        "differs from case to case; `<word>` is `row`, `document`, `table`, `column` and the like. Besides those of",
        "the table: 401 `general_unauthorized_scope` (the caller lacks the scope), 404 `general_route_not_found`, 408",
        "`general_request_timeout`, 413 `general_request_too_large`, 500 `general_unknown` (a bug: the log has the",
        "details), 503 `general_service_unavailable` (Redis or the database is away: try again after `Retry-After`),",
        "and what the hub refuses [credentials](errors.md#while-a-connection-opens) for.",
        "",
        "| Status | Type | Message |",
        "| --- | --- | --- |",
    )
    for problem in Problem:
        status, error_type, text = problem.value
        yield f"| {int(status)} | `{_shown(error_type)}` | `{_shown(text)}` |"
    yield ""


def _shown(template: str) -> str:
    """Return a template with its placeholders as people are used to them."""
    return re.sub(r"\{(\w+)\}", r"<\1>", template)


if __name__ == "__main__":
    sys.stdout.write(reference_page())
