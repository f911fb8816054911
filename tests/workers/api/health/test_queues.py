"""What waits to be done, as those who watch over the server ask for it."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from realtime.bus import RedisBus, connect
from realtime.bus.keys import WorkKind, work_dead_key, work_key
from realtime.identity.jwt import TokenVerifier
from realtime.identity.model import ApiKey, Project
from realtime.identity.resolver import Resolver
from realtime.identity.store import IdentityStore
from realtime.settings import Settings
from workers.api.app import create_app
from workers.api.services import Services
from workers.store import tables
from workers.store.outbox import Record, append
from workers.store.times import to_text

PAST, FUTURE = "2001-01-01T00:00:00.000+00:00", "2999-01-01T00:00:00.000+00:00"
DUE = (PAST, PAST, FUTURE, None)
WORK: dict[WorkKind, tuple[int, ...]] = {"webhooks": (0, 7, 63), "functions": (1,)}
"""Buckets in which an event waits."""
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


def delivery(number: int, status: str, due_at: str | None) -> dict[str, Any]:
    return {
        "project_id": "demo",
        "id": f"d{number}",
        "webhook_id": "w",
        "webhook_seq": 1,
        "event_id": "1-0",
        "event": "users.1.create",
        "status": status,
        "attempts": 0,
        "round": 0,
        "response_status": 0,
        "error": "",
        "due_at": due_at,
        "held": False,
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

    async def lag_of(self, queue: str) -> float:
        lag: float = (await self.client.get(f"/v1/health/queue/{queue}")).json()["lag"]
        return lag


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
        await watched.insert(tables.deliveries, *(delivery(i, "pending", due) for i, due in enumerate(DUE)))
        assert await watched.size_of("webhooks") == 1 + 2

    async def test_events_that_wait_for_workers_are_counted(self, watched: Watched) -> None:
        for kind, numbers in WORK.items():
            for number in numbers:
                await watched.services.bus.redis.xadd(work_key(number, kind), {"e": "{}", "i": "1-0"})
        assert await watched.size_of("webhooks") == 3
        assert await watched.size_of("functions") == 1

    async def test_lag_is_the_age_of_what_has_waited_longest(self, watched: Watched) -> None:
        assert await watched.lag_of("webhooks") == 0
        long_ago = datetime.now(UTC) - timedelta(hours=1)
        await watched.insert(
            tables.deliveries,
            delivery(1, "pending", to_text(long_ago)),
            delivery(2, "pending", to_text(long_ago + timedelta(minutes=9))),
        )
        assert 3600 <= await watched.lag_of("webhooks") < 3660
        entry_id = f"{int(long_ago.timestamp()) - 3600}000-0"
        await watched.services.bus.redis.xadd(work_key(7, "webhooks"), {"e": "{}"}, id=entry_id)
        assert 7200 <= await watched.lag_of("webhooks") < 7260
        assert await watched.lag_of("functions") == 0

    async def test_what_was_given_up_is_counted(self, watched: Watched) -> None:
        await watched.insert(
            tables.deliveries,
            delivery(1, "dead", None),
            delivery(2, "delivered", None),
            delivery(3, "dead", None),
        )
        for kind in WORK:
            await watched.services.bus.redis.xadd(work_dead_key(9, kind), {"e": "{}", "r": "why"})
        assert await watched.size_of("failed/v1-webhooks") == 3
        assert await watched.size_of("failed/functions") == 1
        response = await watched.client.get("/v1/health/queue/failed/webhooks", params={"threshold": 3})
        assert (response.status_code, response.json()["type"]) == (503, "health_queue_size_exceeded")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestAnswers:
    @pytest.mark.parametrize("queue", ["builds", "certificates", "databases", "logs", "mails", "usage-dump"])
    async def test_nothing_waits_where_work_is_done_at_once(self, watched: Watched, queue: str) -> None:
        assert await watched.size_of(queue) == 0

    async def test_threshold_that_is_reached_is_an_error(self, watched: Watched) -> None:
        await watched.insert(tables.executions, execution(1, PAST), execution(2, PAST))
        path = "/v1/health/queue/functions"
        assert (await watched.client.get(path, params={"threshold": 3})).json()["size"] == 2
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

    @pytest.mark.parametrize("queue", ["v1-webhooks", "webhooks", "functions", "v1-mails", "anything"])
    async def test_nothing_is_given_up_at_first(self, watched: Watched, queue: str) -> None:
        response = await watched.client.get(f"/v1/health/queue/failed/{queue}")
        assert (response.status_code, response.json()) == (200, {"size": 0})

    async def test_log_of_events_answers(self, watched: Watched) -> None:
        body = (await watched.client.get("/v1/health/queue")).json()
        assert (body["name"], body["status"]) == ("queue", "pass")

    @pytest.mark.parametrize("path", ["queue", "queue/webhooks", "queue/failed/x", "anti-virus", "storage"])
    async def test_guests_are_not_told(self, watched: Watched, path: str) -> None:
        response = await watched.client.get(f"/v1/health/{path}", headers={"X-Appwrite-Key": ""})
        assert response.status_code == 401
