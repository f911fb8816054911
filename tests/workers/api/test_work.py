"""What the API leaves for webhooks and functions: who acted, how long the chain is, and payloads that hide nothing."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from realtime.bus.work import WorkQueue
from realtime.events.event import Acting
from realtime.events.work import WorkEvent, decode_work
from realtime.presences.model import Draft
from realtime.presences.store import Holder
from realtime.triggers.model import Webhook
from realtime.triggers.store import TriggerStore
from tests.api import PROJECT, Api
from workers.api.people.jwts import sign_jwt

MAIN = "/v1/tablesdb/main"
NAMES = (
    "databases.*.collections.*.documents.*.create",
    "databases.*.collections.*.documents.*.update",
    "messages.*.create",
    "messages.*.update",
    "presences.*.upsert",
    "presences.*.update",
    "presences.*.delete",
    "teams.*.create",
)
EVENT = {"event": "teams.red.create", "payload": {"n": 1}}


async def wait_for_everything(api: Api) -> None:
    """Have a webhook that waits for all events of these tests, from now on."""
    assert await api.services.relay.flush(PROJECT)
    hook = Webhook("w1", "Hook", "https://example.com/", NAMES, "sealed")
    await TriggerStore(api.services.bus.redis).put_webhook(PROJECT, hook)


async def left(api: Api) -> list[WorkEvent]:
    assert await api.services.relay.flush(PROJECT)
    queue = WorkQueue(api.services.bus.redis, "webhooks", "reader")
    items = []
    while found := await queue.read(6400, block_s=0):
        items += found
    await queue.done(items)
    return [decode_work(item) for item in items]


async def make_table(api: Api, table: str = "books") -> None:
    await api.server.post("/v1/tablesdb", json={"databaseId": "main", "name": "Main"})
    body = {"tableId": table, "name": table, "permissions": ['create("any")', 'read("any")', 'update("any")']}
    made = await api.server.post(f"{MAIN}/tables", json=body)
    assert made.status_code == 201, made.text


async def make_row(client: httpx.AsyncClient, row_id: str, table: str = "books", **data: Any) -> None:
    body = {"rowId": row_id, "data": data}
    made = await client.post(f"{MAIN}/tables/{table}/rows", json=body)
    assert made.status_code == 201, made.text


async def log_in(api: Api, name: str) -> httpx.AsyncClient:
    browser = api.guest()
    account = {"userId": name, "email": f"{name}@example.com", "password": "long enough"}
    assert (await browser.post("/v1/account", json=account)).status_code == 201
    session = await browser.post("/v1/account/sessions/email", json=account)
    assert session.status_code == 201, session.text
    return browser


def execution(api: Api, depth: int) -> httpx.AsyncClient:
    """Return a client with the key that an execution is given."""
    return api.holder(api.services.executions.keys.issue(PROJECT, ["*"], life_s=60, depth=depth))


class TestWhoActs:
    async def test_user_is_told_and_keys_and_guests_are_nobody(self, api: Api) -> None:
        await make_table(api)
        await wait_for_everything(api)
        ada, bob = await log_in(api, "ada"), await log_in(api, "bob")
        for number, client in enumerate((ada, api.server, bob, api.guest(), ada)):
            await make_row(client, f"r{number}")
        assert [event.actor_id for event in await left(api)] == ["ada", "", "bob", "", "ada"]

    async def test_chain_is_as_long_as_the_execution_s(self, api: Api) -> None:
        await make_table(api)
        await wait_for_everything(api)
        function = execution(api, 3)
        await make_row(function, "r1")
        assert (await function.post("/v1/events", json=EVENT)).status_code == 202
        await make_row(api.server, "r2")
        assert [(event.depth, event.actor_id) for event in await left(api)] == [(3, ""), (3, ""), (0, "")]

    async def test_chain_goes_on_with_tokens_of_users_that_functions_are_given(self, api: Api) -> None:
        await make_table(api)
        await log_in(api, "ada")
        await wait_for_everything(api)
        given = sign_jwt(api.services.settings, PROJECT, "ada", duration_s=60, depth=4)
        made = await execution(api, 3).post("/v1/users/ada/jwts", json={})
        by_backend = await api.server.post("/v1/users/ada/jwts", json={})
        for number, token in enumerate((given, made.json()["jwt"], by_backend.json()["jwt"])):
            await make_row(api.guest(**{"X-Appwrite-JWT": token}), f"r{number}")
        assert [(event.depth, event.actor_id) for event in await left(api)] == [
            (4, "ada"),
            (3, "ada"),
            (0, "ada"),
        ]

    async def test_backend_says_who_acted(self, api: Api) -> None:
        await wait_for_everything(api)
        await api.server.post("/v1/events", json=EVENT | {"actorId": "ada"})
        refused = await api.server.post("/v1/events", json=EVENT | {"actorId": 'a"b'})
        assert (refused.status_code, "acting user" in refused.json()["message"]) == (400, True)
        assert [event.actor_id for event in await left(api)] == ["ada"]

    async def test_clients_of_realtime_are_not_told(self, api: Api) -> None:
        await make_table(api)
        await wait_for_everything(api)
        await make_row(await log_in(api, "ada"), "r1", table="books")
        message = (await api.services.bus.read_page(PROJECT, "0-0")).events[-1][1]
        data = json.dumps(json.loads(message)["data"])
        assert "actorId" not in data
        assert "depth" not in data


class TestPayload:
    async def test_relationships_are_told_to_webhooks_only(self, api: Api) -> None:
        await make_table(api, "authors")
        await make_table(api)
        relationship = {"relatedTableId": "authors", "type": "manyToOne", "key": "by"}
        made = await api.server.post(f"{MAIN}/tables/books/columns/relationship", json=relationship)
        assert made.status_code == 202, made.text
        await make_row(api.server, "ada", "authors")
        await wait_for_everything(api)
        await make_row(api.server, "notes", by="ada")
        (event,) = await left(api)
        assert json.loads(event.payload)["by"] == "ada"
        shown = (await api.published())[-1]
        assert shown.payload["$id"] == "notes"
        assert "by" not in shown.payload


class TestPresences:
    async def test_those_of_the_api_are_told_with_who_acted(self, api: Api) -> None:
        await wait_for_everything(api)
        ada = await log_in(api, "ada")
        assert (await ada.put("/v1/presences/p1", json={"status": "on"})).status_code == 200
        assert (await ada.patch("/v1/presences/p1", json={"status": "off"})).status_code == 200
        assert (await api.server.delete("/v1/presences/p1")).status_code == 204
        assert [(event.events[0], event.actor_id) for event in await left(api)] == [
            ("presences.p1.upsert", "ada"),
            ("presences.p1.update", "ada"),
            ("presences.p1.delete", ""),
        ]

    async def test_those_of_connections_are_not(self, api: Api) -> None:
        await wait_for_everything(api)
        draft = Draft("p1", "ada", "on", (), {}, "realtime", expires_at="2999-01-01T00:00:00.000+00:00")
        holder = Holder("0011223344556677", 1)
        presences = api.services.presences
        await presences.upsert(PROJECT, draft, holder)
        await presences.release(PROJECT, [("ada", holder)])
        assert await api.names() == ["presences.p1.upsert", "presences.p1.delete"]
        assert await left(api) == []

    @pytest.mark.parametrize(("source", "told"), [("rest", 1), ("realtime", 0)])
    async def test_end_is_told_of_those_of_the_api(self, source: Any, told: int, api: Api) -> None:
        draft = Draft("p1", "ada", "on", (), {}, source, expires_at="2020-01-01T00:00:00.000+00:00")
        await api.services.presences.upsert(PROJECT, draft, Holder("0011223344556677", 1))
        await wait_for_everything(api)
        await api.services.presences.expire(PROJECT, ["p1"])
        assert len(await left(api)) == told

    async def test_chain_goes_on_when_what_a_function_set_ends(self, api: Api) -> None:
        await log_in(api, "ada")
        await log_in(api, "bob")
        await wait_for_everything(api)
        moment = (datetime.now(UTC) + timedelta(seconds=0.3)).isoformat(timespec="milliseconds")
        function = execution(api, 3)
        for client, user in ((function, "ada"), (api.server, "bob")):
            body = {"userId": user, "status": "on", "permissions": [], "expiresAt": moment}
            made = await client.put(f"/v1/presences/{user}", json=body)
            assert made.status_code == 200, made.text
        await execution(api, 5).patch("/v1/presences/bob", json={"status": "off"})
        told: dict[str, int] = {}
        async with asyncio.timeout(10):
            while len(told) < 2:
                await api.services.presences.expire(PROJECT, ["ada", "bob"])
                ended = [event for event in await left(api) if event.events[0].endswith(".delete")]
                told |= {event.events[0]: event.depth for event in ended}
        assert told == {"presences.ada.delete": 3, "presences.bob.delete": 5}

    async def test_end_is_the_doing_of_who_said_when(self, api: Api) -> None:
        draft = Draft("p1", "ada", "on", (), {}, "rest", expires_at="2020-01-01T00:00:00.000+00:00")
        await api.services.presences.upsert(PROJECT, draft, by=Acting("ada", 2))
        await wait_for_everything(api)
        # The new one ends that which had expired.
        await api.services.presences.upsert(PROJECT, draft, by=Acting("bob", 4))
        await api.services.presences.expire(PROJECT, ["p1"])
        assert [(event.events[0], event.actor_id, event.depth) for event in await left(api)] == [
            ("presences.p1.delete", "ada", 2),
            ("presences.p1.upsert", "bob", 4),
            ("presences.p1.delete", "bob", 4),
        ]

    async def test_chain_goes_on_when_the_user_is_deleted(self, api: Api) -> None:
        await log_in(api, "ada")
        function = execution(api, 3)
        body = {"userId": "ada", "status": "on", "permissions": []}
        made = await function.put("/v1/presences/p1", json=body)
        assert made.status_code == 200, made.text
        await wait_for_everything(api)
        assert (await function.delete("/v1/users/ada")).status_code == 204
        assert [(event.events[0], event.depth) for event in await left(api)] == [("presences.p1.delete", 3)]


class TestMessages:
    async def test_chain_goes_on_with_what_becomes_of_them(self, api: Api) -> None:
        await log_in(api, "ada")
        await wait_for_everything(api)
        path = "/v1/messaging/messages/email"
        letter = {"subject": "News", "content": "x", "users": ["ada"]}
        function = execution(api, 3)
        for client, message in ((function, "m1"), (api.server, "m2")):
            made = await client.post(path, json=letter | {"messageId": message})
            assert made.status_code == 201, made.text
        draft = {"messageId": "m3", "draft": True}
        assert (await execution(api, 5).post(path, json=letter | draft)).status_code == 201
        sent = await function.patch(f"{path}/m3", json={"draft": False})
        assert sent.status_code == 200, sent.text
        ended: dict[str, int] = {}
        async with asyncio.timeout(10):
            while len(ended) < 3:
                for event in await left(api):
                    payload = json.loads(event.payload)
                    if payload["status"] == "sent":
                        ended[payload["$id"]] = event.depth
                await asyncio.sleep(0.01)
        assert ended == {"m1": 3, "m2": 0, "m3": 3}


class TestTooMuchWaits:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"work_max_events": 1}

    async def test_callers_are_told_what_to_start_and_when_to_come_back(self, api: Api) -> None:
        ada = await log_in(api, "ada")
        await ada.put("/v1/presences/p1", json={"status": "on"})
        await wait_for_everything(api)
        assert (await api.server.post("/v1/events", json=EVENT)).status_code == 202
        for refused in (
            await api.server.post("/v1/events", json=EVENT),
            await ada.put("/v1/presences/p1", json={"status": "off"}),
            await ada.patch("/v1/presences/p1", json={"status": "off"}),
            await ada.delete("/v1/presences/p1"),
        ):
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert "Start `realtime webhooks`" in refused.json()["message"]
        assert (await ada.get("/v1/presences/p1")).json()["status"] == "on"
        assert len(await left(api)) == 1
        assert (await ada.delete("/v1/presences/p1")).status_code == 204

    async def test_connections_set_presences_nevertheless(self, api: Api) -> None:
        await wait_for_everything(api)
        await api.server.post("/v1/events", json=EVENT)
        draft = Draft("p1", "ada", "on", (), {}, "realtime", expires_at="2999-01-01T00:00:00.000+00:00")
        await api.services.presences.upsert(PROJECT, draft, Holder("0011223344556677", 1))
        assert await api.services.presences.get(PROJECT, "p1") is not None
