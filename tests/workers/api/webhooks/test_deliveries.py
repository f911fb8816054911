"""The delivery log over the API, on both databases: what is shown, and what is delivered anew."""

from collections.abc import Iterable
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from tests.api import PROJECT, Api
from workers.api.webhooks import delivery_operations
from workers.store import tables

PAST, LATER, FUTURE = (f"{year}-01-01T00:00:00.000+00:00" for year in (2001, 2002, 2999))
PAYLOAD = b'{"$id":"7","total":12.50}'
ROOT = "a-key-for-all-projects"


@pytest.fixture
def overrides() -> dict[str, Any]:
    return {"root_key": ROOT}


async def add_webhook(api: Api, webhook_id: str = "w1", **members: Any) -> int:
    """Make a webhook over the API; return the number of its row."""
    body = {"webhookId": webhook_id, "name": "Orders", "url": "https://93.184.216.34/", "events": ["users.*"]}
    response = await api.server.post("/v1/webhooks", json=body | members)
    assert response.status_code == 201, response.text
    statement = select(tables.webhooks.c.seq).where(tables.webhooks.c.id == webhook_id)
    async with api.services.store.read() as connection:
        seq: int = (await connection.execute(statement)).scalar_one()
    return seq


def delivery(delivery_id: str, webhook_seq: int, **columns: Any) -> dict[str, Any]:
    return {
        "project_id": PROJECT,
        "id": delivery_id,
        "webhook_id": "w1",
        "webhook_seq": webhook_seq,
        "event_id": "1-0",
        "event": "users.7.create",
        "status": "dead",
        "attempts": 12,
        "round": 12,
        "response_status": 500,
        "error": "The endpoint answered 500.",
        "due_at": None,
        "held": False,
        "created_at": PAST,
        "updated_at": LATER,
        **columns,
    }


async def insert(api: Api, table: Any, rows: Iterable[dict[str, Any]]) -> None:
    async with api.services.store.database.writing() as connection:
        await connection.execute(table.insert(), list(rows))


async def add_event(api: Api, event_id: str = "1-0") -> None:
    row = {
        "project_id": PROJECT,
        "event_id": event_id,
        "names": ["users.7.create", "users.*.create"],
        "actor_id": "ada",
        "payload": PAYLOAD,
        "created_at": PAST,
    }
    await insert(api, tables.webhook_events, [row])


def attempt(number: int, **columns: Any) -> dict[str, Any]:
    return {
        "project_id": PROJECT,
        "delivery_id": "d1",
        "number": number,
        "started_at": PAST,
        "duration_s": 0.25,
        "response_status": 500,
        "response": "oops",
        "error": "The endpoint answered 500.",
        **columns,
    }


async def rows(api: Api) -> dict[str, dict[str, Any]]:
    """Return every delivery of the store, by ID."""
    async with api.services.store.read() as connection:
        found = await connection.execute(select(tables.deliveries))
        return {row["id"]: dict(row) for row in found.mappings()}


async def due(api: Api) -> set[str]:
    """Return which deliveries are to be attempted now."""
    return {
        row["id"]
        for row in (await rows(api)).values()
        if row["status"] == "pending" and row["round"] == 0 and row["due_at"] == row["updated_at"] > LATER
    }


def refusal(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["type"]


class TestList:
    async def test_deliveries_are_those_of_the_webhook(self, api: Api) -> None:
        first, second = await add_webhook(api), await add_webhook(api, "w2")
        await insert(api, tables.deliveries, [delivery("d1", first), delivery("d2", second, webhook_id="w2")])
        listed = (await api.server.get("/v1/webhooks/w1/deliveries")).json()
        assert listed == {
            "total": 1,
            "deliveries": [
                {
                    "$id": "d1",
                    "$createdAt": PAST,
                    "$updatedAt": LATER,
                    "webhookId": "w1",
                    "eventId": "1-0",
                    "event": "users.7.create",
                    "status": "dead",
                    "attempts": 12,
                    "responseStatusCode": 500,
                    "error": "The endpoint answered 500.",
                    "nextAttemptAt": "",
                }
            ],
        }

    @pytest.mark.parametrize(
        "query",
        [
            '{"method":"equal","attribute":"status","values":["pending"]}',
            '{"method":"equal","attribute":"eventId","values":["2-0"]}',
            '{"method":"startsWith","attribute":"event","values":["teams."]}',
            '{"method":"lessThan","attribute":"attempts","values":[3]}',
            '{"method":"equal","attribute":"responseStatusCode","values":[0]}',
            '{"method":"greaterThan","attribute":"$createdAt","values":["2001-06-01"]}',
            '{"method":"isNotNull","attribute":"nextAttemptAt"}',
            '{"method":"cursorAfter","values":["d1"]}',
            '{"method":"contains","attribute":"error","values":["refused"]}',
        ],
    )
    async def test_queries_choose(self, api: Api, query: str) -> None:
        seq = await add_webhook(api)
        other = delivery(
            "d2",
            seq,
            event_id="2-0",
            event="teams.1.update",
            status="pending",
            attempts=1,
            response_status=0,
            created_at=LATER,
            due_at=FUTURE,
            error="The connection was refused.",
        )
        await insert(api, tables.deliveries, [delivery("d1", seq), other])
        response = await api.server.get("/v1/webhooks/w1/deliveries", params={"queries[0]": query})
        assert response.status_code == 200, response.text
        assert [found["$id"] for found in response.json()["deliveries"]] == ["d2"]

    async def test_deliveries_of_a_former_webhook_of_the_same_id_are_not_this_ones(self, api: Api) -> None:
        seq = await add_webhook(api)
        await insert(api, tables.deliveries, [delivery("d1", seq + 1)])
        assert (await api.server.get("/v1/webhooks/w1/deliveries")).json()["total"] == 0
        response = await api.server.get("/v1/webhooks/w1/deliveries/d1")
        assert refusal(response) == (404, "webhook_delivery_not_found")

    async def test_webhook_that_there_is_not_has_none(self, api: Api) -> None:
        response = await api.server.get("/v1/webhooks/nobody/deliveries")
        assert refusal(response) == (404, "webhook_not_found")

    async def test_attribute_that_there_is_not_is_refused(self, api: Api) -> None:
        await add_webhook(api)
        query = '{"method":"equal","attribute":"round","values":[1]}'
        response = await api.server.get("/v1/webhooks/w1/deliveries", params={"queries[0]": query})
        assert refusal(response) == (400, "general_query_invalid")


class TestGet:
    async def test_whole_delivery_is_shown(self, api: Api) -> None:
        seq = await add_webhook(api)
        await add_event(api)
        await insert(api, tables.deliveries, [delivery("d1", seq, attempts=2)])
        last = attempt(2, response_status=0, response="", error="The connection was refused.")
        await insert(api, tables.attempts, [attempt(1), last, attempt(1, delivery_id="d2")])
        shown = (await api.server.get("/v1/webhooks/w1/deliveries/d1")).json()
        assert shown["events"] == ["users.7.create", "users.*.create"]
        assert shown["userId"] == "ada"
        assert shown["payload"] == {"$id": "7", "total": 12.5}
        assert shown["attempts"] == 2
        assert shown["history"] == [
            {
                "number": 2,
                "startedAt": PAST,
                "duration": 0.25,
                "responseStatusCode": 0,
                "response": "",
                "error": "The connection was refused.",
            },
            {
                "number": 1,
                "startedAt": PAST,
                "duration": 0.25,
                "responseStatusCode": 500,
                "response": "oops",
                "error": "The endpoint answered 500.",
            },
        ]

    async def test_event_that_is_gone_leaves_its_first_name(self, api: Api) -> None:
        await insert(api, tables.deliveries, [delivery("d1", await add_webhook(api))])
        shown = (await api.server.get("/v1/webhooks/w1/deliveries/d1")).json()
        assert (shown["events"], shown["payload"], shown["history"]) == (["users.7.create"], None, [])

    async def test_delivery_to_another_webhook_is_not_there(self, api: Api) -> None:
        seq = await add_webhook(api)
        await add_webhook(api, "w2")
        await insert(api, tables.deliveries, [delivery("d1", seq)])
        response = await api.server.get("/v1/webhooks/w2/deliveries/d1")
        assert refusal(response) == (404, "webhook_delivery_not_found")


class TestRedeliver:
    @pytest.mark.parametrize("status", ["dead", "delivered"])
    async def test_delivery_that_is_over_is_due_with_all_its_attempts(self, api: Api, status: str) -> None:
        await insert(api, tables.deliveries, [delivery("d1", await add_webhook(api), status=status)])
        response = await api.server.post("/v1/webhooks/w1/deliveries/d1/redelivery")
        assert response.status_code == 202
        answer = response.json()
        assert (answer["$id"], answer["status"], answer["attempts"]) == ("d1", "pending", 12)
        assert answer["nextAttemptAt"] == answer["$updatedAt"]
        assert await due(api) == {"d1"}

    async def test_delivery_that_is_to_be_tried_much_later_is_due_now(self, api: Api) -> None:
        row = delivery("d1", await add_webhook(api), status="pending", round=9, due_at=FUTURE)
        await insert(api, tables.deliveries, [row])
        assert (await api.server.post("/v1/webhooks/w1/deliveries/d1/redelivery")).status_code == 202
        assert await due(api) == {"d1"}

    async def test_delivery_that_is_being_attempted_stays_as_it_is(self, api: Api) -> None:
        row = delivery("d1", await add_webhook(api), status="pending", round=3, due_at=FUTURE, held=True)
        await insert(api, tables.deliveries, [row])
        response = await api.server.post("/v1/webhooks/w1/deliveries/d1/redelivery")
        assert (response.status_code, response.json()["nextAttemptAt"]) == (202, FUTURE)
        assert (await rows(api))["d1"]["round"] == 3

    async def test_webhook_that_is_disabled_is_enabled_first(self, api: Api) -> None:
        await insert(api, tables.deliveries, [delivery("d1", await add_webhook(api, enabled=False))])
        response = await api.server.post("/v1/webhooks/w1/deliveries/d1/redelivery")
        assert refusal(response) == (409, "webhook_disabled")
        response = await api.server.post("/v1/webhooks/w1/redeliveries", json={"since": PAST})
        assert refusal(response) == (409, "webhook_disabled")
        assert (await rows(api))["d1"]["status"] == "dead"

    @pytest.mark.parametrize(
        ("webhook", "error_type"), [("w1", "webhook_delivery_not_found"), ("none", "webhook_not_found")]
    )
    async def test_what_there_is_not_is_not_found(self, api: Api, webhook: str, error_type: str) -> None:
        await add_webhook(api)
        response = await api.server.post(f"/v1/webhooks/{webhook}/deliveries/none/redelivery")
        assert refusal(response) == (404, error_type)

    async def test_no_event_tells_of_it(self, api: Api) -> None:
        await insert(api, tables.deliveries, [delivery("d1", await add_webhook(api))])
        before = await api.names()
        assert (await api.server.post("/v1/webhooks/w1/deliveries/d1/redelivery")).status_code == 202
        assert await api.names() == before


class TestPing:
    async def test_webhook_alone_is_to_be_told_of_itself(self, api: Api) -> None:
        await add_webhook(api, authUsername="ada", authPassword="lovelace", secret="a secret of mine")
        await add_webhook(api, "w2")
        response = await api.server.post("/v1/webhooks/w1/pings")
        assert response.status_code == 202
        (row,) = (await rows(api)).values()
        assert (row["webhook_id"], row["status"], row["due_at"]) == ("w1", "pending", row["created_at"])
        shown = (await api.server.get(f"/v1/webhooks/w1/deliveries/{row['id']}")).json()
        assert shown["events"] == ["webhooks.w1.ping"]
        assert response.json().items() <= shown.items()
        webhook = (await api.server.get("/v1/webhooks/w1")).json()
        assert shown["payload"] == webhook | {"authPassword": ""}

    async def test_each_ping_is_a_delivery_of_its_own(self, api: Api) -> None:
        await add_webhook(api)
        ids = {(await api.server.post("/v1/webhooks/w1/pings")).json()["$id"] for _ in range(3)}
        assert set(await rows(api)) == ids
        assert len(ids) == 3

    async def test_webhook_that_is_disabled_or_not_there_is_not_told(self, api: Api) -> None:
        await add_webhook(api, enabled=False)
        assert refusal(await api.server.post("/v1/webhooks/w1/pings")) == (409, "webhook_disabled")
        assert refusal(await api.server.post("/v1/webhooks/none/pings")) == (404, "webhook_not_found")


class TestRedeliveries:
    async def prepare(self, api: Api) -> None:
        first, second = await add_webhook(api), await add_webhook(api, "w2")
        await insert(
            api,
            tables.deliveries,
            [
                delivery("old", first),
                delivery("new", first, event_id="2-0", created_at=LATER),
                delivery("newest", first, event_id="3-0", created_at="2003-01-01T00:00:00.000+00:00"),
                delivery("arrived", first, event_id="4-0", created_at=LATER, status="delivered"),
                delivery("waiting", first, event_id="5-0", created_at=LATER, status="pending", due_at=FUTURE),
                delivery("other", second, webhook_id="w2", event_id="2-0", created_at=LATER),
            ],
        )

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({"since": PAST}, {"old", "new", "newest"}),
            ({"since": LATER}, {"new", "newest"}),
            ({"since": "2002-01-01T01:00:00+01:00", "until": "2003-01-01"}, {"new"}),
            ({"since": PAST, "status": "delivered"}, {"arrived"}),
            ({"since": PAST, "status": "pending"}, {"waiting"}),
            ({"eventId": "4-0"}, {"arrived"}),
            ({"eventId": "4-0", "status": "dead"}, set()),
            ({"eventId": "2-0"}, {"new"}),
        ],
    )
    async def test_those_that_meet_all_of_it_are_due(
        self, api: Api, body: dict[str, Any], expected: set[str]
    ) -> None:
        await self.prepare(api)
        response = await api.server.post("/v1/webhooks/w1/redeliveries", json=body)
        assert (response.status_code, response.json()) == (202, {"total": len(expected), "cursor": ""})
        assert await due(api) == expected

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({"eventId": "2-0"}, {"new", "other"}),
            ({"eventId": "2-0", "webhookIds": ["w2"]}, {"other"}),
            ({"since": LATER}, {"new", "newest", "other"}),
        ],
    )
    async def test_several_webhooks_are_served_at_once(
        self, api: Api, body: dict[str, Any], expected: set[str]
    ) -> None:
        await self.prepare(api)
        response = await api.server.post("/v1/webhooks/redeliveries", json=body)
        assert (response.status_code, response.json()["total"]) == (202, len(expected))
        assert await due(api) == expected

    async def test_disabled_webhooks_are_left_out(self, api: Api) -> None:
        await self.prepare(api)
        async with api.services.store.database.writing() as connection:
            disable = tables.webhooks.update().where(tables.webhooks.c.id == "w1").values(enabled=False)
            await connection.execute(disable)
        response = await api.server.post("/v1/webhooks/redeliveries", json={"since": PAST})
        assert response.json() == {"total": 1, "cursor": ""}
        assert await due(api) == {"other"}

    async def test_webhook_that_there_is_not_is_refused(self, api: Api) -> None:
        body = {"since": PAST, "webhookIds": ["nobody"]}
        response = await api.server.post("/v1/webhooks/redeliveries", json=body)
        assert refusal(response) == (404, "webhook_not_found")
        response = await api.server.post("/v1/webhooks/nobody/redeliveries", json={"since": PAST})
        assert refusal(response) == (404, "webhook_not_found")

    async def test_more_than_one_request_may_make_are_made_by_several(
        self, api: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(delivery_operations, "MAX_REDELIVERIES", 3)
        monkeypatch.setattr(delivery_operations, "BATCH", 2)
        seq = await add_webhook(api)
        await insert(api, tables.deliveries, [delivery(f"d{number}", seq) for number in range(5)])
        path, body = "/v1/webhooks/w1/redeliveries", {"since": PAST}
        first = (await api.server.post(path, json=body)).json()
        assert first == {"total": 3, "cursor": "d2"}
        assert await due(api) == {"d0", "d1", "d2"}
        second = (await api.server.post(path, json=body | {"cursor": "d2"})).json()
        assert second == {"total": 2, "cursor": ""}
        assert await due(api) == {f"d{number}" for number in range(5)}

    async def test_cursor_that_leads_nowhere_is_refused(self, api: Api) -> None:
        await add_webhook(api)
        body = {"since": PAST, "cursor": "gone"}
        response = await api.server.post("/v1/webhooks/w1/redeliveries", json=body)
        assert refusal(response) == (400, "general_cursor_not_found")

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"until": PAST},
            {"status": "dead"},
            {"since": "yesterday"},
            {"since": PAST, "status": "lost"},
            {"eventId": ""},
            {"eventId": "1" * 42},
            {"since": PAST, "cursor": "x" * 37},
        ],
    )
    async def test_what_says_too_little_or_nonsense_is_refused(self, api: Api, body: dict[str, Any]) -> None:
        await add_webhook(api)
        response = await api.server.post("/v1/webhooks/w1/redeliveries", json=body)
        assert refusal(response) == (400, "general_argument_invalid")


PATHS = (
    ("GET", "/v1/webhooks/w1/deliveries", "read"),
    ("GET", "/v1/webhooks/w1/deliveries/d1", "read"),
    ("POST", "/v1/webhooks/w1/deliveries/d1/redelivery", "write"),
    ("POST", "/v1/webhooks/w1/pings", "write"),
    ("POST", "/v1/webhooks/w1/redeliveries", "write"),
    ("POST", "/v1/webhooks/redeliveries", "write"),
)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestAccess:
    @pytest.mark.parametrize(("method", "path", "access"), PATHS)
    async def test_scope_is_needed(self, api: Api, method: str, path: str, access: str) -> None:
        await insert(api, tables.deliveries, [delivery("d1", await add_webhook(api))])
        other = {"read": "write", "write": "read"}[access]
        body = {"since": PAST} if method == "POST" else None
        async with (
            await api.add_key(f"webhooks.{access}") as may,
            await api.add_key(f"webhooks.{other}") as may_not,
            api.guest() as guest,
        ):
            assert (await may.request(method, path, json=body)).is_success
            for client in (may_not, guest):
                response = await client.request(method, path, json=body)
                assert refusal(response) == (401, "general_unauthorized_scope")

    @pytest.mark.parametrize(("method", "path", "access"), PATHS)
    async def test_root_key_looks_after_a_named_project(
        self, api: Api, method: str, path: str, access: str
    ) -> None:
        await insert(api, tables.deliveries, [delivery("d1", await add_webhook(api))])
        body = {"since": PAST} if access == "write" else None
        alias = path.replace("/v1/", f"/v1/projects/{PROJECT}/")
        async with api.holder(ROOT) as root:
            response = await root.request(method, alias, json=body)
            assert response.is_success, response.text
            assert response.json().keys() >= ({"$id"} if "/d1" in path or "/pings" in path else {"total"})
            elsewhere = alias.replace(f"/{PROJECT}/", "/nowhere/")
            assert refusal(await root.request(method, elsewhere, json=body)) == (404, "project_not_found")
        assert (await api.server.request(method, alias, json=body)).status_code == 401
