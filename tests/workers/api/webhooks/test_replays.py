"""From an event to a dead letter and on to its delivery: API, worker and endpoint together, on both databases."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.api import Api
from tests.receiver import OK, Receiver, receiving
from workers.cli.worker_wiring import run_webhooks

DEADLINE_S = 20
BROKEN = b"HTTP/1.1 500 Whatever\r\nContent-Length: 6\r\n\r\nbroken"


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"webhooks_allow_private": True, "webhooks_schedule_s": (0, 0), "webhooks_breaker_failures": 0}


@contextlib.asynccontextmanager
async def delivering(api: Api) -> AsyncIterator[Receiver]:
    """Run a worker, and an endpoint that the webhook `w1` tells of every team."""
    async with receiving() as receiver, run_webhooks(api.services):
        url = f"http://127.0.0.1:{receiver.port}/"
        body = {"webhookId": "w1", "name": "Teams", "url": url, "events": ["teams.*"]}
        response = await api.server.post("/v1/webhooks", json=body)
        assert response.status_code == 201, response.text
        yield receiver


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await is_so():  # noqa: ASYNC110 - the worker tells nobody
            await asyncio.sleep(0.02)


async def log(api: Api) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = (await api.server.get("/v1/webhooks/w1/deliveries")).json()["deliveries"]
    return listed


async def statuses(api: Api) -> list[str]:
    return [delivery["status"] for delivery in await log(api)]


async def failed(api: Api) -> int:
    size: int = (await api.server.get("/v1/health/queue/failed/webhooks")).json()["size"]
    return size


class TestReplay:
    async def test_dead_letter_arrives_once_its_endpoint_is_repaired(self, api: Api) -> None:
        async with delivering(api) as receiver:
            receiver.answer = BROKEN
            assert (await api.server.post("/v1/teams", json={"teamId": "red", "name": "Red"})).is_success
            await until(lambda: _is(statuses(api), ["dead"]))
            (dead,) = await log(api)
            assert (dead["attempts"], dead["responseStatusCode"], dead["nextAttemptAt"]) == (3, 500, "")
            assert await failed(api) == 1

            receiver.answer = OK
            body = {"since": dead["$createdAt"]}
            response = await api.server.post("/v1/webhooks/w1/redeliveries", json=body)
            assert response.json() == {"total": 1, "cursor": ""}
            await until(lambda: _is(statuses(api), ["delivered"]))
            assert await failed(api) == 0
            assert (await api.server.get("/v1/health/queue/webhooks")).json() == {"size": 0, "lag": 0}

            shown = (await api.server.get(f"/v1/webhooks/w1/deliveries/{dead['$id']}")).json()
            assert [(each["number"], each["responseStatusCode"]) for each in shown["history"]] == [
                (4, 200),
                (3, 500),
                (2, 500),
                (1, 500),
            ]
            assert (shown["history"][0]["response"], shown["history"][-1]["response"]) == ("ok", "broken")
            assert shown["events"][0] == "teams.red.create"
            assert shown["payload"]["name"] == "Red"
            assert {request.header("webhook-id") for request in receiver.requests} == {dead["$id"]}
            assert len(receiver.requests) == 4

    async def test_what_has_arrived_is_sent_again_if_somebody_asks_for_it(self, api: Api) -> None:
        async with delivering(api) as receiver:
            assert (await api.server.post("/v1/teams", json={"teamId": "red", "name": "Red"})).is_success
            await until(lambda: _is(statuses(api), ["delivered"]))
            (delivery,) = await log(api)
            body = {"eventId": delivery["eventId"]}
            assert (await api.server.post("/v1/webhooks/redeliveries", json=body)).json()["total"] == 1
            await until(lambda: _is(_attempts(api), [2]))
            await until(lambda: _is(statuses(api), ["delivered"]))
            first, second = receiver.requests
            assert first.body == second.body
            assert first.header("webhook-id") == second.header("webhook-id")

    async def test_ping_arrives_signed_and_with_its_name(self, api: Api) -> None:
        async with delivering(api) as receiver:
            delivery = (await api.server.post("/v1/webhooks/w1/pings")).json()
            await until(lambda: _is(statuses(api), ["delivered"]))
            (request,) = receiver.requests
            assert request.header("webhook-id") == delivery["$id"]
            assert request.header("x-appwrite-webhook-events") == "webhooks.w1.ping"
            assert request.header("webhook-signature").startswith("v1,")
            assert b'"$id":"w1"' in request.body


async def _attempts(api: Api) -> list[int]:
    return [delivery["attempts"] for delivery in await log(api)]


async def _is(found: Awaitable[Any], expected: object) -> bool:
    return bool(await found == expected)
