from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from realtime.settings import Settings
from workers.api.app import create_app


@pytest.fixture(scope="module")
def app() -> FastAPI:
    services: Any = SimpleNamespace(settings=Settings())
    return create_app(services=services)


@pytest.fixture(scope="module")
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method} {path}", each)
        for path, item in document["paths"].items()
        for method, each in item.items()
    ]


class TestDocument:
    def test_every_operation_tells_its_success_and_its_refusals(self, document: dict[str, Any]) -> None:
        for name, operation in operations(document):
            statuses = list(operation["responses"])
            assert [status for status in statuses if status.startswith("2")], name
            assert "422" not in statuses, name
            assert operation["responses"]["default"]["content"]["application/json"]["schema"] == {
                "$ref": "#/components/schemas/Error"
            }
            assert operation.get("summary"), name

    def test_operations_are_named_by_what_they_do(self, document: dict[str, Any]) -> None:
        assert document["paths"]["/v1/teams/{teamId}"]["put"]["summary"] == "Rename a team"

    def test_lists_in_forms_are_repeated_fields(self, document: dict[str, Any]) -> None:
        body = document["paths"]["/v1/storage/buckets/{bucketId}/files"]["post"]["requestBody"]
        form = body["content"]["multipart/form-data"]
        assert form["encoding"] == {"permissions": {"style": "form", "explode": True}}

    def test_every_operation_has_an_id_of_its_own(self, document: dict[str, Any]) -> None:
        ids = [operation["operationId"] for _, operation in operations(document)]
        assert len(ids) == len(set(ids))

    def test_it_says_how_to_authorize_and_what_each_service_is(self, document: dict[str, Any]) -> None:
        for text in ("X-Appwrite-Project", "X-Appwrite-Key", "*Authorize*"):
            assert text in document["info"]["description"]
        told = [tag["name"] for tag in document["tags"]]
        used = {name for _, operation in operations(document) for name in operation["tags"]}
        assert len(told) == len(set(told))
        assert set(told) == used

    def test_every_reference_leads_somewhere(self, document: dict[str, Any]) -> None:
        found: set[str] = set()

        def walk(value: Any) -> None:
            if isinstance(value, dict):
                if isinstance(value.get("$ref"), str):
                    found.add(value["$ref"])
                for each in value.values():
                    walk(each)
            elif isinstance(value, list):
                for each in value:
                    walk(each)

        walk(document)
        assert found
        for reference in found:
            assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


class TestPage:
    async def test_it_loads_nothing_from_elsewhere(self, app: FastAPI) -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a") as client:
            page = await client.get("/docs")
            assert page.status_code == 200
            assert "https://" not in page.text
            for path in ("/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/docs/favicon.png"):
                assert path in page.text
                assert (await client.get(path)).status_code == 200
            assert (await client.get("/docs/../app.py")).status_code == 404
            assert (await client.get("/v1/openapi.json")).json()["openapi"].startswith("3.")
