"""How lists' parameters are read from URLs, in the forms that the SDKs send."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, FastAPI

from workers.api import errors
from workers.api.listing import ListParams, list_params


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application with one list, which answers with what it was asked."""
    app = FastAPI()

    @app.get("/things")
    def show(params: Annotated[ListParams, Depends(list_params)]) -> dict[str, Any]:
        return {
            "queries": list(params.queries),
            "search": params.search,
            "total": params.total,
            "limit": params.query(["name"]).limit,
        }

    errors.install(app)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


LIMIT = json.dumps({"method": "limit", "values": [7]})
ORDER = json.dumps({"method": "orderAsc", "attribute": "name"})


class TestListParams:
    async def test_without_parameters_the_list_is_counted_and_not_searched(
        self, client: httpx.AsyncClient
    ) -> None:
        assert (await client.get("/things")).json() == {
            "queries": [],
            "search": "",
            "total": True,
            "limit": 25,
        }

    @pytest.mark.parametrize(
        "names", [("queries[0]", "queries[1]"), ("queries[]", "queries[]"), ("queries", "queries")]
    )
    async def test_every_form_of_a_list_is_read_in_order(
        self, client: httpx.AsyncClient, names: tuple[str, str]
    ) -> None:
        answer = (await client.get("/things", params=list(zip(names, (LIMIT, ORDER), strict=True)))).json()
        assert (answer["queries"], answer["limit"]) == ([LIMIT, ORDER], 7)

    async def test_other_names_are_no_queries(self, client: httpx.AsyncClient) -> None:
        params = {"queries[x]": LIMIT, "queries[0][1]": LIMIT, "myqueries": LIMIT}
        assert (await client.get("/things", params=params)).json()["queries"] == []

    @pytest.mark.parametrize(("text", "total"), [("false", False), ("0", False), ("true", True), ("1", True)])
    async def test_the_count_can_be_left_out(self, client: httpx.AsyncClient, text: str, total: bool) -> None:
        assert (await client.get("/things", params={"total": text})).json()["total"] is total

    @pytest.mark.parametrize(
        ("params", "error_type", "message"),
        [
            (
                {"total": "maybe"},
                "general_argument_invalid",
                "Invalid `total` param: Value must be a valid boolean",
            ),
            (
                {"search": "x" * 257},
                "general_argument_invalid",
                "Invalid `search` param: Value must be a valid string and at most 256 chars.",
            ),
            ({"queries[]": "{"}, "general_query_invalid", "Invalid query: Syntax error"),
            (
                {"queries[]": ORDER.replace("name", "secret")},
                "general_query_invalid",
                "Invalid query: Attribute not found in schema: secret",
            ),
        ],
    )
    async def test_what_is_wrong_is_told(
        self, client: httpx.AsyncClient, params: dict[str, str], error_type: str, message: str
    ) -> None:
        answer = await client.get("/things", params=params)
        assert answer.status_code == 400
        assert (answer.json()["type"], answer.json()["message"]) == (error_type, message)

    async def test_the_parameters_are_in_the_schema(self, client: httpx.AsyncClient) -> None:
        document = (await client.get("/openapi.json")).json()
        operation = document["paths"]["/things"]["get"]
        assert [each["name"] for each in operation["parameters"]] == ["queries", "search", "total"]
        assert operation["parameters"][0]["schema"]["anyOf"][0] == {
            "type": "array",
            "items": {"type": "string"},
        }
