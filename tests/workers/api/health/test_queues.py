"""What waits to be done, as those who watch over the server ask for it."""

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from realtime.bus import RedisBus, connect
from realtime.identity.jwt import TokenVerifier
from realtime.identity.model import ApiKey, Project
from realtime.identity.resolver import Resolver
from realtime.identity.store import IdentityStore
from realtime.settings import Settings
from workers.api.app import create_app
from workers.api.services import Services
from workers.store import tables
from workers.store.outbox import Record, append

PAST, FUTURE = "2001-01-01T00:00:00.000+00:00", "2999-01-01T00:00:00.000+00:00"
DUE = (PAST, PAST, FUTURE, None)
TIMES = {"created_at": PAST, "updated_at": PAST}


def execution(number: int, due_at: str | None) -> dict[str, Any]:
    return {
        "project_id": "demo",
        "id": f"e{number}",
        "function_id": "f",
        "deployment_id": "d",
        "permissions": [],
        "trigger": "http",
        "status": "waiting",
        "request_method": "GET",
        "request_path": "/",
        "request_headers": [],
        "response_status": 0,
        "response_headers": [],
        "logs": "",
        "errors": "",
        "duration_s": 0.0,
        "due_at": due_at,
        "attempts": 0,
        "sealed_request": "",
        **TIMES,
    }


def message(number: int, due_at: str | None) -> dict[str, Any]:
    return {
        "project_id": "demo",
        "id": f"m{number}",
        "provider_type": "email",
        "topics": [],
        "users": [],
        "targets": [],
        "data": {},
        "status": "scheduled",
        "delivery_errors": [],
        "due_at": due_at,
        **TIMES,
    }


class Watched(NamedTuple):
    """A server whose database nobody works on, and a client that may watch over it."""

    client: httpx.AsyncClient
    services: Services

    async def insert(self, table: Any, *rows: dict[str, Any]) -> None:
        async with self.services.store.database.writing() as connection:
            await connection.execute(table.insert(), list(rows))

    async def size_of(self, queue: str) -> int:
        response = await self.client.get(f"/v1/health/queue/{queue}")
        assert response.status_code == 200, response.text
        size: int = response.json()["size"]
        return size


@pytest.fixture
async def watched(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Watched]:
    settings = Settings(database_url=database_url, redis_url=redis_url, data_dir=tmp_path)
    redis = connect(redis_url)
    identities = IdentityStore(redis)
    await identities.put_project(Project(id="demo", managed=True))
    await identities.put_key("demo", ApiKey(id="k", name="Watcher", scopes=("health.read",)), "secret")
    services = Services.from_settings(
        settings,
        identities=identities,
        resolver=Resolver(identities, TokenVerifier.from_settings(settings), clock=time.time),
        bus=RedisBus.from_settings(settings, redis),
    )
    headers = {"X-Appwrite-Project": "demo", "X-Appwrite-Key": "secret"}
    transport = httpx.ASGITransport(create_app(services=services))
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test", headers=headers) as client:
        yield Watched(client, services)
    await services.store.database.aclose()
    await redis.aclose()


class TestSizes:
    async def test_what_is_due_is_counted_and_what_is_not_is_not(self, watched: Watched) -> None:
        for queue in ("webhooks", "functions", "messaging", "deletes"):
            assert await watched.size_of(queue) == 0
        await watched.insert(tables.executions, *(execution(i, due) for i, due in enumerate(DUE)))
        await watched.insert(tables.messages, *(message(i, due) for i, due in enumerate(DUE)))
        await watched.insert(tables.discarded_files, {"storage_key": "a", "created_at": PAST})
        async with watched.services.store.database.writing() as connection:
            await append(connection, [Record("demo", "event", b"{}"), Record("demo", "user", b"ada")])
        assert await watched.size_of("functions") == 2
        assert await watched.size_of("messaging") == 2
        assert await watched.size_of("deletes") == 1
        assert await watched.size_of("webhooks") == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestAnswers:
    @pytest.mark.parametrize("queue", ["builds", "certificates", "databases", "logs", "mails", "usage-dump"])
    async def test_nothing_waits_where_work_is_done_at_once(self, watched: Watched, queue: str) -> None:
        assert await watched.size_of(queue) == 0

    async def test_threshold_that_is_reached_is_an_error(self, watched: Watched) -> None:
        await watched.insert(tables.executions, execution(1, PAST), execution(2, PAST))
        path = "/v1/health/queue/functions"
        assert (await watched.client.get(path, params={"threshold": 3})).json() == {"size": 2}
        refused = await watched.client.get(path, params={"threshold": 2})
        assert (refused.status_code, refused.json()["type"]) == (503, "health_queue_size_exceeded")
        assert refused.json()["message"] == (
            "Queue size threshold hit. Current size is 2 and threshold is set to 2."
        )

    @pytest.mark.parametrize("threshold", ["0", "-1", "many", "1e9", str(2**63)])
    async def test_threshold_that_is_none_is_refused(self, watched: Watched, threshold: str) -> None:
        response = await watched.client.get("/v1/health/queue/mails", params={"threshold": threshold})
        assert response.status_code == 400
        assert "`threshold`" in response.json()["message"]

    async def test_queue_that_there_is_not_is_refused(self, watched: Watched) -> None:
        response = await watched.client.get("/v1/health/queue/nothing")
        assert (response.status_code, response.json()["type"]) == (400, "general_argument_invalid")

    async def test_nothing_is_put_aside(self, watched: Watched) -> None:
        response = await watched.client.get("/v1/health/queue/failed/v1-webhooks")
        assert response.json() == {"size": 0}

    async def test_log_of_events_answers(self, watched: Watched) -> None:
        body = (await watched.client.get("/v1/health/queue")).json()
        assert (body["name"], body["status"]) == ("queue", "pass")

    @pytest.mark.parametrize("path", ["queue", "queue/webhooks", "queue/failed/x", "anti-virus", "storage"])
    async def test_guests_are_not_told(self, watched: Watched, path: str) -> None:
        response = await watched.client.get(f"/v1/health/{path}", headers={"X-Appwrite-Key": ""})
        assert response.status_code == 401
