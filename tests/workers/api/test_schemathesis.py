"""Whatever the OpenAPI document allows, and much that it does not, is answered without a server error.

Schemathesis makes the requests; each is sent with an API key that may do everything, and as a guest. Half of them are
about resources that exist. The same requests are made in every run.
"""

import io
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
from PIL import Image
from schemathesis import GenerationMode
from schemathesis.core import NotSet
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.transport.serialization import Binary

from tests.api import Api
from tests.firing.functions import code
from workers.store.tables import deliveries

EXAMPLES = 4
"""How many requests are made of each operation."""

SERVICES = (
    "account",
    "avatars",
    "databases",
    "events",
    "functions",
    "health",
    "locale",
    "messaging",
    "ping",
    "presences",
    "project",
    "projects",
    "storage",
    "tablesdb",
    "teams",
    "tokens",
    "users",
    "webhooks",
)


class Form(NamedTuple):
    """The body of a request that is a form."""

    fields: dict[str, str]
    files: dict[str, tuple[str, bytes]]


def picture() -> bytes:
    """Return a PNG."""
    written = io.BytesIO()
    Image.new("RGB", (8, 8), "#3366cc").save(written, "PNG")
    return written.getvalue()


SEEDS: tuple[tuple[str, dict[str, Any] | Form], ...] = (
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
    ("/v1/storage/buckets", {"bucketId": "pictures", "name": "Pictures", "permissions": ['read("any")']}),
    ("/v1/storage/buckets/pictures/files", Form({"fileId": "dot"}, {"file": ("dot.png", picture())})),
    ("/v1/tokens/buckets/pictures/files/dot", {}),
    (
        "/v1/functions",
        {
            "functionId": "greet",
            "name": "Greet",
            "runtime": "node-22",
            "entrypoint": "main.js",
            "execute": ["any"],
        },
    ),
    ("/v1/functions/greet/variables", {"variableId": "greeting", "key": "GREETING", "value": "Hello"}),
    (
        "/v1/functions/greet/deployments",
        Form({"activate": "true"}, {"code": ("code.tar.gz", code())}),
    ),
    ("/v1/functions/greet/executions", {}),
    ("/v1/messaging/providers/mailgun", {"providerId": "post", "name": "Post"}),
    ("/v1/messaging/topics", {"topicId": "news", "name": "News"}),
    ("/v1/messaging/topics/news/subscribers", {"subscriberId": "reader", "targetId": "mail"}),
    (
        "/v1/messaging/messages/email",
        {"messageId": "draft", "subject": "News", "content": "Hello", "draft": True, "topics": ["news"]},
    ),
    (
        "/v1/webhooks",
        {
            "webhookId": "hook",
            "name": "Hook",
            "url": "https://93.184.215.14/hook",
            "events": ["users.*.create"],
        },
    ),
    ("/v1/webhooks/hook/pings", {}),
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
    "bucketId": "pictures",
    "fileId": "dot",
    "functionId": "greet",
    "variableId": "greeting",
    "providerId": "post",
    "topicId": "news",
    "subscriberId": "reader",
    "messageId": "draft",
    "webhookId": "hook",
    "deliveryId": "ping",
    "presenceId": "ada",
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
        if isinstance(self.body, Form):
            content = {"data": self.body.fields, "files": self.body.files}
        elif isinstance(self.body, bytes):
            content = {"content": self.body, "headers": {"Content-Type": "application/json"}}
        elif not isinstance(self.body, NotSet):
            content = {"json": self.body}
        return await client.request(self.method, self.path, params=self.query, **content)


def form_of(body: Any) -> Any:
    """Return a body as the form that it is to be sent as; bytes are files of odd names."""
    if not isinstance(body, dict):
        return body
    fields, files = {}, {}
    for name, value in body.items():
        if isinstance(value, Binary):
            files[name] = (f"../{name}\u00e9.png", value.data)
        else:
            fields[name] = value if isinstance(value, str) else json.dumps(value)
    return Form(fields, files)


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
        body = form_of(case.body) if case.media_type == "multipart/form-data" else case.body
        made.append(Request(case.method, case.formatted_path, query, body))

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
            response = await Request("POST", path, {}, body).sent_by(api.server)
            assert response.is_success, f"{path}: {response.text}"
        presence = {"userId": "ada", "status": "here"}
        assert (await api.server.put("/v1/presences/ada", json=presence)).is_success
        async with api.services.store.database.writing() as connection:
            await connection.execute(deliveries.update().values(id=KNOWN["deliveryId"]))
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
