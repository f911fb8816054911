import asyncio
import dataclasses
import json
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from realtime import __version__
from realtime.bus import RedisBus, connect
from realtime.bus.keys import live_channel
from realtime.identity.model import ApiKey, Project
from realtime.identity.resolver import Resolver
from realtime.identity.store import IdentityStore
from realtime.settings import Settings
from workers.api.app import create_app
from workers.api.services import Services

ROW = "databases.main.tables.posts.rows.1.create"
EVENT = {"event": ROW, "payload": {"title": "Hello"}, "roles": ["any"]}
HEADERS = {"X-Appwrite-Project": "demo", "X-Appwrite-Key": "writer"}
GUEST = '(role: guests) missing scope (["events.write"])'


def make_services(redis: Redis, bus: RedisBus, settings: Settings) -> Services:
    identities = IdentityStore(redis)
    # Nothing here comes near the database: a test that did would leave a file.
    return Services.from_settings(
        settings.model_copy(update={"database_url": f"sqlite:///{tempfile.gettempdir()}/unused.db"}),
        identities=identities,
        resolver=Resolver(identities, None, clock=time.time),
        bus=bus,
    )


def make_client(redis: Redis, settings: Settings) -> httpx.AsyncClient:
    app = create_app(services=make_services(redis, RedisBus(redis), settings))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://api.test/v1", headers=HEADERS)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url)
    store = IdentityStore(client)
    await store.put_project(Project(id="demo"))
    await store.put_key("demo", ApiKey(id="k1", scopes=("events.write",)), "writer")
    await store.put_key("demo", ApiKey(id="k2", scopes=("rows.read",)), "reader")
    await store.put_key("demo", ApiKey(id="k3", scopes=("*",), expires_at=1.0), "expired")
    yield client
    await client.aclose()


@pytest.fixture
async def client(redis: Redis) -> AsyncIterator[httpx.AsyncClient]:
    async with make_client(redis, Settings()) as client:
        yield client


async def log_of(redis: Redis, project: str = "demo") -> list[tuple[str, dict[str, Any]]]:
    entries = (await RedisBus(redis).read_page(project, "0-0")).events
    return [(event_id, json.loads(message)) for event_id, message in entries]


def error(code: int, error_type: str, message: str) -> dict[str, Any]:
    return {"message": message, "code": code, "type": error_type, "version": __version__}


class TestForms:
    @pytest.mark.parametrize("body", [EVENT, [EVENT], {"events": [EVENT]}])
    async def test_each_form_of_one_event_is_published(
        self, client: httpx.AsyncClient, redis: Redis, body: Any
    ) -> None:
        response = await client.post("/events", json=body)
        assert response.status_code == 202
        answer = response.json()
        assert answer["total"] == 1
        (published,) = answer["events"]
        ((event_id, envelope),) = await log_of(redis)
        assert published["id"] == event_id
        assert published["events"] == envelope["data"]["events"]
        assert published["channels"] == envelope["data"]["channels"]
        assert published["roles"] == envelope["roles"] == ["any"]
        assert published["events"][0] == ROW
        assert "databases.main.tables.posts.rows" in published["channels"]
        assert envelope["data"]["payload"] == {"title": "Hello"}

    async def test_every_member_reaches_the_event(self, client: httpx.AsyncClient, redis: Redis) -> None:
        body = {
            "event": "databases.[databaseId].tables.[tableId].rows.[rowId].update",
            "params": {"databaseId": "main", "tableId": "posts", "rowId": "7"},
            "payload": {"$id": "7"},
            "permissions": ['read("team:editors")', 'update("any")'],
            "databaseType": "tablesdb",
            "userId": "ada",
            "timestamp": "2026-01-31T12:00:00+01:00",
        }
        response = await client.post("/events", json=body)
        assert response.status_code == 202, response.text
        ((_, envelope),) = await log_of(redis)
        assert envelope["roles"] == ["team:editors"]
        assert envelope["userId"] == "ada"
        assert envelope["data"]["timestamp"] == "2026-01-31T11:00:00.000+00:00"
        assert "tablesdb.main.tables.posts.rows.7.update" in envelope["data"]["events"]

    async def test_payload_goes_out_as_it_was_sent(self, client: httpx.AsyncClient, redis: Redis) -> None:
        """Digits beyond a double, an empty object, the order of members: nothing is read and written again."""
        payload = b'{"z":12345678901234567890.10,"prefs":{},"list":[],"a":"\\u00e9/"}'
        content = b'{"event":"%s","roles":["any"],"payload":%s}' % (ROW.encode(), payload)
        response = await client.post("/events", content=content)
        assert response.status_code == 202, response.text
        entries = (await RedisBus(redis).read_page("demo", "0-0")).events
        assert b'"payload":' + payload in entries[0][1]

    async def test_published_event_is_on_the_live_channel(
        self, client: httpx.AsyncClient, redis: Redis
    ) -> None:
        async with redis.pubsub() as pubsub:
            await pubsub.subscribe(live_channel("demo"))
            await pubsub.get_message(timeout=5)
            response = await client.post("/events", json=EVENT)
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=5)
        assert message is not None
        assert json.loads(message["data"])["id"] == response.json()["events"][0]["id"]

    async def test_batch_keeps_its_order(self, client: httpx.AsyncClient, redis: Redis) -> None:
        batch = [EVENT | {"payload": {"number": number}} for number in range(50)]
        response = await client.post("/events", json=batch)
        log = await log_of(redis)
        assert [envelope["data"]["payload"]["number"] for _, envelope in log] == list(range(50))
        assert [event["id"] for event in response.json()["events"]] == [event_id for event_id, _ in log]


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "text"),
        [
            (b"", "is not valid JSON"),
            (b"{", "is not valid JSON"),
            (b"\xff", "is not valid JSON"),
            (b"[" * 50_000, "is nested too deeply"),
            (b"null", "must be an event, a list of events"),
            (b"5", "must be an event, a list of events"),
            (b'"text"', "must be an event, a list of events"),
            (b'{"events":5}', "must be an event, a list of events"),
            (b"[]", "holds no event"),
            (b'{"events":[]}', "holds no event"),
            (b"{}", "Invalid event at index 0: Object missing required field `event`"),
            (b"[5]", "Invalid event at index 0: Expected `object`, got `int`"),
            (b'{"event":5,"payload":{}}', "at index 0: Expected `str`, got `int` - at `$.event`"),
            (b'{"event":"users.1.create"}', "at index 0: Object missing required field `payload`"),
            (b'{"event":"users.1.create","payload":[]}', "at index 0: Expected `object` - at `$.payload`"),
            (b'{"event":"users.1.create","payload":{},"permission":[]}', "unknown field `permission`"),
            (b'{"event":"users.1.create","payload":{},"roles":[1]}', "at index 0: Expected `str`, got `int`"),
            (b'{"event":"users.1.create","payload":{},"databaseType":"x"}', "at index 0: Invalid enum value"),
            (b'{"event":"users.1.create","payload":{"a":"\xff"}}', "at index 0: "),
            (b'{"event":"users.1.create","payload":{},"roles":["nonsense:1"]}', "at index 0: "),
            (b'{"event":"users.1.create","payload":{},"permissions":["read(any)"]}', "at index 0: "),
            (b'{"event":"users.1.create","payload":{},"timestamp":"soon"}', "at index 0: The timestamp"),
            (b'{"event":"users.[userId].create","payload":{}}', "[userId] is missing from the params."),
            (b'{"event":"nothing.1.create","payload":{}}', "at index 0: "),
            (
                b'{"event":"users.1.create","payload":{"a":%s%s}}' % (b"[" * 300, b"]" * 300),
                "at index 0: The payload is not JSON: Recursion limit",
            ),
        ],
    )
    async def test_bad_body_is_refused_with_what_is_wrong(
        self, client: httpx.AsyncClient, redis: Redis, body: bytes, text: str
    ) -> None:
        response = await client.post("/events", content=body)
        assert response.status_code == 400
        answer = response.json()
        assert list(answer) == ["message", "code", "type", "version"]
        assert answer == error(400, "general_argument_invalid", answer["message"])
        assert text in answer["message"]
        assert await log_of(redis) == []

    @pytest.mark.parametrize(
        "bad", [5, {"event": ROW}, EVENT | {"event": "nothing.1"}, EVENT | {"roles": ["?"]}]
    )
    async def test_one_bad_event_is_named_and_nothing_is_published(
        self, client: httpx.AsyncClient, redis: Redis, bad: Any
    ) -> None:
        response = await client.post("/events", json=[EVENT, EVENT, bad, EVENT])
        assert response.status_code == 400
        assert response.json()["message"].startswith("Invalid event at index 2: ")
        assert await log_of(redis) == []

    async def test_batch_at_the_limit_passes_and_one_more_does_not(self, redis: Redis) -> None:
        async with make_client(redis, Settings(events_max_batch=3)) as client:
            assert (await client.post("/events", json=[EVENT] * 3)).status_code == 202
            response = await client.post("/events", json=[EVENT] * 4)
        assert response.status_code == 400
        assert response.json()["message"] == "The request body holds 4 events; the limit is 3."
        assert len(await log_of(redis)) == 3

    @pytest.mark.parametrize("chunked", [False, True])
    async def test_body_above_the_limit_is_refused(self, redis: Redis, chunked: bool) -> None:
        body = json.dumps(EVENT).encode()
        read = 0

        async def chunks() -> AsyncIterator[bytes]:
            nonlocal read
            for _ in range(1000):
                read += 1
                yield b" " * 100

        async with make_client(redis, Settings(events_max_bytes=len(body))) as client:
            assert (await client.post("/events", content=body)).status_code == 202
            response = await client.post("/events", content=chunks() if chunked else body + b" ")
        assert response.status_code == 413
        assert response.json()["type"] == "general_request_too_large"
        assert f"{len(body)} bytes" in response.json()["message"]
        assert read < 10, "the rest of the body was read"
        assert len(await log_of(redis)) == 1


class TestBody:
    async def test_one_that_does_not_arrive_in_time_is_refused(self, redis: Redis) -> None:
        async def stuck() -> AsyncIterator[bytes]:
            yield b"{"
            await asyncio.Event().wait()

        async with make_client(redis, Settings(request_timeout_s=0.05)) as client:
            response = await client.post("/events", content=stuck())
        message = "The request body did not arrive within 0.05 seconds."
        assert response.json() == error(408, "general_request_timeout", message)
        assert response.headers["Connection"] == "close"

    async def test_one_that_is_given_up_is_no_failure(self, redis: Redis) -> None:
        app = create_app(services=make_services(redis, RedisBus(redis), Settings()))
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/events",
            "query_string": b"",
            "headers": headers,
        }
        await app(scope, receive, send)
        assert sent[0]["status"] == 400


class TestAccess:
    @pytest.mark.parametrize("project", [None, "", "nobody", "no:body", "x" * 5000])
    async def test_missing_or_unknown_project_is_not_found(
        self, client: httpx.AsyncClient, project: str | None
    ) -> None:
        del client.headers["X-Appwrite-Project"]
        headers = {} if project is None else {"X-Appwrite-Project": project}
        response = await client.post("/events", json=EVENT, headers=headers)
        assert response.status_code == 404
        assert response.json() == error(
            404,
            "project_not_found",
            "Project with the requested ID could not be found. Please check the value of the X-Appwrite-Project "
            "header to ensure the correct project ID is being used.",
        )

    @pytest.mark.parametrize("key", [None, "", "unknown", "expired"])
    async def test_caller_without_a_valid_key_is_a_guest(
        self, client: httpx.AsyncClient, redis: Redis, key: str | None
    ) -> None:
        del client.headers["X-Appwrite-Key"]
        headers = {} if key is None else {"X-Appwrite-Key": key}
        response = await client.post("/events", json=EVENT, headers=headers)
        assert response.status_code == 401
        assert response.json() == error(401, "general_unauthorized_scope", GUEST)
        assert await log_of(redis) == []

    async def test_key_without_the_scope_is_told_which(self, client: httpx.AsyncClient) -> None:
        response = await client.post("/events", json=EVENT, headers={"X-Appwrite-Key": "reader"})
        assert response.status_code == 401
        assert response.json()["message"] == '(role: applications) missing scope (["events.write"])'

    async def test_key_of_another_project_is_none(self, client: httpx.AsyncClient, redis: Redis) -> None:
        await IdentityStore(redis).put_project(Project(id="other"))
        response = await client.post("/events", json=EVENT, headers={"X-Appwrite-Project": "other"})
        assert response.status_code == 401

    async def test_body_is_not_looked_at_before_the_key(self, client: httpx.AsyncClient) -> None:
        response = await client.post("/events", content=b"{", headers={"X-Appwrite-Key": "unknown"})
        assert response.status_code == 401

    async def test_page_of_another_origin_cannot_read_the_answer(self, client: httpx.AsyncClient) -> None:
        response = await client.post("/events", json=EVENT, headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in response.headers


class TestIdempotency:
    async def test_repeat_publishes_nothing_and_gets_the_same_ids(
        self, client: httpx.AsyncClient, redis: Redis
    ) -> None:
        headers = {"Idempotency-Key": "order-1"}
        first = await client.post("/events", json=[EVENT, EVENT], headers=headers)
        second = await client.post("/events", json=[EVENT, EVENT], headers=headers)
        assert first.status_code == second.status_code == 202
        assert first.json() == second.json()
        assert len(await log_of(redis)) == 2

    async def test_racing_repeats_publish_once(self, client: httpx.AsyncClient, redis: Redis) -> None:
        headers = {"Idempotency-Key": "order-1"}
        posts = [client.post("/events", json=EVENT, headers=headers) for _ in range(10)]
        responses = await asyncio.gather(*posts)
        assert {response.json()["events"][0]["id"] for response in responses} == {(await log_of(redis))[0][0]}
        assert len(await log_of(redis)) == 1

    async def test_key_of_another_batch_is_refused(self, client: httpx.AsyncClient, redis: Redis) -> None:
        headers = {"Idempotency-Key": "order-1"}
        await client.post("/events", json=EVENT, headers=headers)
        response = await client.post("/events", json=[EVENT, EVENT], headers=headers)
        assert response.status_code == 400
        assert "idempotency key" in response.json()["message"]
        assert len(await log_of(redis)) == 1

    async def test_other_keys_and_none_publish(self, client: httpx.AsyncClient, redis: Redis) -> None:
        for headers in ({"Idempotency-Key": "a"}, {"Idempotency-Key": "b"}, {}, {}):
            await client.post("/events", json=EVENT, headers=headers)
        assert len(await log_of(redis)) == 4

    @pytest.mark.parametrize("key", ["", "x" * 129, "é".encode()])
    async def test_invalid_key_is_refused(
        self, client: httpx.AsyncClient, redis: Redis, key: str | bytes
    ) -> None:
        headers: Any = {"Idempotency-Key": key}
        response = await client.post("/events", json=EVENT, headers=headers)
        assert response.status_code == 400
        assert "Idempotency-Key" in response.json()["message"]
        assert await log_of(redis) == []

    async def test_longest_key_passes(self, client: httpx.AsyncClient) -> None:
        response = await client.post("/events", json=EVENT, headers={"Idempotency-Key": "x" * 128})
        assert response.status_code == 202


class TestUnavailable:
    async def test_redis_away_says_when_to_try_again(self, free_port: Callable[[], int]) -> None:
        redis = connect(f"redis://127.0.0.1:{free_port()}")
        async with make_client(redis, Settings()) as client:
            response = await client.post("/events", json=EVENT)
        await redis.aclose()
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert response.json()["type"] == "general_service_unavailable"
        assert "Idempotency-Key takes effect once" in response.json()["message"]

    async def test_redis_lost_before_the_publish_says_so_at_once(
        self, redis: Redis, free_port: Callable[[], int]
    ) -> None:
        away = connect(f"redis://127.0.0.1:{free_port()}")
        app = create_app(services=make_services(redis, RedisBus(away), Settings()))
        started = time.monotonic()
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://api.test"
        ) as client:
            response = await client.post("/v1/events", json=EVENT, headers=HEADERS)
        await away.aclose()
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert "Idempotency-Key takes effect once" in response.json()["message"]
        assert time.monotonic() - started < 3


class TestErrors:
    async def test_unknown_route_is_told_in_the_same_shape(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/nothing")
        assert response.status_code == 404
        assert response.json()["type"] == "general_route_not_found"

    async def test_wrong_method_names_the_right_one(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/events")
        assert response.status_code == 405
        assert response.headers["allow"] == "POST"
        assert response.json()["type"] == "general_method_not_allowed"

    async def test_bug_is_not_shown(self, redis: Redis) -> None:
        services = make_services(redis, RedisBus(redis), Settings())
        app = create_app(services=dataclasses.replace(services, resolver=None))  # type: ignore[arg-type]
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
            response = await client.post("/v1/events", json=EVENT, headers=HEADERS)
        assert response.json() == error(500, "general_unknown", "Server Error")
