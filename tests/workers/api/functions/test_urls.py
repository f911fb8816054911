"""Functions that live at a URL, on both databases."""

from typing import Any

import pytest

from tests.api import Api
from tests.receiver import receiving
from workers.outbound.signing import standard_signature

NEW = {"functionId": "hello", "name": "Hello", "runtime": "python-3.11"}

BAD_URLS = (
    "http://localhost/",
    "http://127.0.0.1/",
    "http://169.254.169.254/latest",
    "http://[::1]:8080",
    "http://2130706433/",
    "https://user@example.com/",
    "https://example.com:25/",
    "https://example.com/?a=b",
    "https://example.com/#a",
    "https://",
    "HTTP://localhost/",
    "https://example.com/" + "a" * 1_100,
)


class TestUrls:
    async def test_target_that_nothing_may_be_sent_to_is_refused(self, api: Api) -> None:
        for url in BAD_URLS:
            refused = await api.server.post("/v1/functions", json={**NEW, "entrypoint": url})
            assert (refused.status_code, "entrypoint" in refused.json()["message"]) == (400, True), url
        kept = await api.server.post("/v1/functions", json={**NEW, "entrypoint": "https://93.184.215.14/f"})
        assert kept.status_code == 201
        changed = await api.server.put(
            "/v1/functions/hello", json={"name": "Hello", "entrypoint": "http://10.0.0.1/"}
        )
        assert changed.status_code == 400
        assert (await api.server.get("/v1/functions/hello")).json()["entrypoint"] == "https://93.184.215.14/f"


class TestExecutions:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"webhooks_allow_private": True}

    async def test_function_is_executed_at_its_url_without_a_deployment(self, api: Api) -> None:
        async with receiving(
            b"HTTP/1.1 418 Teapot\r\nX-Kind: tea\r\nContent-Length: 5\r\n\r\nshort"
        ) as receiver:
            url = f"http://127.0.0.1:{receiver.port}/hooks"
            made = await api.server.post("/v1/functions", json={**NEW, "entrypoint": url})
            assert made.status_code == 201, made.text
            secret = {"variableId": "v", "key": "SIGNING_SECRET", "value": "a secret of the function"}
            assert (await api.server.post("/v1/functions/hello/variables", json=secret)).status_code == 201
            answer = await api.server.post(
                "/v1/functions/hello/executions",
                json={"body": "{}", "path": "/brew?pot=1", "method": "PUT", "headers": {"x-mine": "1"}},
            )
        execution = answer.json()
        assert (answer.status_code, execution["status"]) == (201, "completed"), execution
        assert (execution["responseStatusCode"], execution["responseBody"]) == (418, "short")
        assert {"name": "x-kind", "value": "tea"} in execution["responseHeaders"]
        assert execution["deploymentId"] == ""
        (request,) = receiver.requests
        assert (request.line, request.body) == ("PUT /hooks/brew?pot=1 HTTP/1.1", b"{}")
        assert (request.header("x-mine"), request.header("x-appwrite-trigger")) == ("1", "http")
        assert request.header("webhook-id") == execution["$id"]
        assert request.header("webhook-signature") == standard_signature(
            ("a secret of the function",), execution["$id"], int(request.header("webhook-timestamp")), b"{}"
        )

    async def test_function_without_a_secret_says_what_to_do(self, api: Api) -> None:
        async with receiving() as receiver:
            url = f"http://127.0.0.1:{receiver.port}"
            await api.server.post("/v1/functions", json={**NEW, "entrypoint": url})
            execution = (await api.server.post("/v1/functions/hello/executions", json={})).json()
        assert (execution["status"], execution["responseStatusCode"]) == ("failed", 500)
        assert "SIGNING_SECRET" in execution["errors"]
        assert receiver.connections == 0
