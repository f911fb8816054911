"""Whatever the OpenAPI document allows, and much that it does not, is answered without a server error.

Schemathesis makes the requests; each is sent with an API key that may do everything, and as a guest. Half of them are
about resources that exist. The same requests are made in every run.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, NamedTuple

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core import NotSet
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from tests.api import Api

EXAMPLES = 4
"""How many requests are made of each operation."""

SERVICES = (
    "account",
    "databases",
    "events",
    "health",
    "ping",
    "project",
    "projects",
    "tablesdb",
    "teams",
    "users",
)

SEEDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/v1/users", {"userId": "ada", "email": "ada@example.com", "password": "a long password"}),
    ("/v1/users/ada/targets", {"targetId": "mail", "providerType": "email", "identifier": "a@example.org"}),
    ("/v1/teams", {"teamId": "editors", "name": "Editors"}),
    ("/v1/teams/editors/memberships", {"roles": ["writer"], "userId": "ada"}),
    ("/v1/tablesdb", {"databaseId": "main", "name": "Main"}),
    (
        "/v1/tablesdb/main/tables",
        {
            "tableId": "posts",
            "name": "Posts",
            "permissions": ['read("any")', 'create("any")', 'update("any")', 'delete("any")'],
            "columns": [
                {"key": "title", "type": "string", "size": 100, "required": False},
                {"key": "votes", "type": "integer", "required": False},
            ],
            "indexes": [{"key": "by_title", "type": "key", "columns": ["title"], "attributes": ["title"]}],
        },
    ),
    ("/v1/tablesdb/main/tables/posts/rows", {"rowId": "first", "data": {"title": "a", "votes": 1}}),
)
"""What is there when the requests come, and how it is made."""

KNOWN = {
    "userId": "ada",
    "targetId": "mail",
    "teamId": "editors",
    "databaseId": "main",
    "tableId": "posts",
    "rowId": "first",
    "documentId": "first",
    "key": "title",
    "column": "votes",
    "attribute": "votes",
    "sessionId": "current",
    "projectId": "demo",
    "type": "totp",
}
"""What parameters of paths are in every second request."""


Operation = APIOperation[Any, Any, Any, Any]


class Request(NamedTuple):
    """One request, whoever sends it."""

    method: str
    path: str
    query: dict[str, str]
    body: Any

    async def sent_by(self, client: httpx.AsyncClient) -> httpx.Response:
        content: dict[str, Any] = {}
        if isinstance(self.body, bytes):
            content = {"content": self.body, "headers": {"Content-Type": "application/json"}}
        elif not isinstance(self.body, NotSet):
            content = {"json": self.body}
        return await client.request(self.method, self.path, params=self.query, **content)


def requests_of(operation: Operation) -> list[Request]:
    """Return requests that follow the document, and others that break it."""
    made: list[Request] = []
    cases = st.one_of([operation.as_strategy(generation_mode=mode) for mode in GenerationMode])

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases, st.booleans())
    def collect(case: Any, is_known: bool) -> None:
        if is_known:
            case.path_parameters = {
                name: KNOWN.get(name, value) for name, value in (case.path_parameters or {}).items()
            }
        query = {name: str(value) for name, value in (case.query or {}).items()}
        made.append(Request(case.method, case.formatted_path, query, case.body))

    collect()
    return made


@cache
def operations_in(document: str) -> Mapping[str, list[Operation]]:
    """Return the operations of an OpenAPI document by the first word of their paths."""
    by_service: defaultdict[str, list[Operation]] = defaultdict(list)
    for found in schemathesis.openapi.from_dict(json.loads(document)).get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        by_service[operation.path.split("/")[2]].append(operation)
    for operations in by_service.values():
        # What is deleted cannot be asked for any more.
        operations.sort(key=lambda operation: (operation.method == "delete", operation.label))
    return by_service


async def operations_of(api: Api) -> Mapping[str, list[Operation]]:
    response = await api.server.get("/v1/openapi.json")
    return operations_in(response.text)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestOpenApi:
    async def test_every_service_is_tested(self, api: Api) -> None:
        assert tuple(sorted(await operations_of(api))) == SERVICES

    @pytest.mark.parametrize("service", SERVICES)
    async def test_no_request_is_a_server_error(self, api: Api, service: str) -> None:
        for path, body in SEEDS:
            response = await api.server.post(path, json=body)
            assert response.status_code == 201, response.text
        failures = []
        async with api.guest() as guest:
            for operation in (await operations_of(api))[service]:
                for request in requests_of(operation):
                    for client in (api.server, guest):
                        failures += await self._failure(request, client)
        assert failures == []

    async def _failure(self, request: Request, client: httpx.AsyncClient) -> list[Any]:
        try:
            response = await request.sent_by(client)
        except Exception as error:  # noqa: BLE001 - the server would answer 500
            return [(request, repr(error))]
        # 501 is said of what is not offered, such as text messages.
        is_failure = response.status_code >= 500 and response.status_code != HTTPStatus.NOT_IMPLEMENTED
        return [(request, response.text)] if is_failure else []
