"""Webhooks over the API, on both databases: what is answered, kept, told and written through."""

import asyncio
import time
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from realtime.identity.model import Project
from realtime.triggers.model import Webhook
from realtime.triggers.store import TriggerStore
from tests.api import PROJECT, Api, until_blocked
from workers.store import tables
from workers.store.maintenance import Maintenance
from workers.store.projects import delete_project
from workers.store.sealing import Sealer

URL = "https://93.184.216.34/hook"
PAST = "2026-01-01T00:00:00.000+00:00"


def body(**members: Any) -> dict[str, Any]:
    return {
        "webhookId": "w1",
        "name": "Orders",
        "url": URL,
        "events": ["databases.*.tables.orders.rows.*.create"],
        **members,
    }


async def create(api: Api, **members: Any) -> dict[str, Any]:
    response = await api.server.post("/v1/webhooks", json=body(**members))
    assert response.status_code == 201, response.text
    created: dict[str, Any] = response.json()
    return created


async def in_read_model(api: Api) -> dict[str, Webhook]:
    found = await TriggerStore(api.services.bus.redis).read(PROJECT)
    return {webhook.id: webhook for webhook in found.webhooks}


async def row_of(api: Api, webhook_id: str = "w1") -> dict[str, Any]:
    async with api.services.store.read() as connection:
        found = await connection.execute(select(tables.webhooks).where(tables.webhooks.c.id == webhook_id))
        return dict(found.mappings().one())


async def fail(api: Api, attempts: int) -> None:
    """Have deliveries to the webhook have failed."""
    async with api.services.store.database.writing() as connection:
        failed = {"attempts": attempts, "failing_since": PAST, "logs": "Status code: 500"}
        await connection.execute(tables.webhooks.update().values(failed))


async def deliver(api: Api, webhook_id: str) -> None:
    """Have an event of its own have been delivered to a webhook."""
    event_id = f"1-{webhook_id}"
    event = {"project_id": PROJECT, "event_id": event_id, "created_at": PAST}
    async with api.services.store.database.writing() as connection:
        await connection.execute(
            tables.webhook_events.insert(), event | {"names": ["a.b"], "actor_id": "", "payload": b"{}"}
        )
        webhook = tables.webhooks.c
        webhook_seq = await connection.scalar(select(webhook.seq).where(webhook.id == webhook_id))
        await connection.execute(
            tables.deliveries.insert(),
            event | {
                "id": f"msg_{webhook_id}", "webhook_id": webhook_id, "webhook_seq": webhook_seq, "event": "a.b",
                "status": "delivered", "attempts": 1, "round": 0, "response_status": 200, "error": "",
                "due_at": None, "held": False, "updated_at": PAST,
            },
        )  # fmt: skip
        await connection.execute(
            tables.attempts.insert(),
            {
                "project_id": PROJECT, "delivery_id": f"msg_{webhook_id}", "number": 1, "started_at": PAST,
                "duration_s": 0.1, "response_status": 200, "response": "", "error": "",
            },
        )  # fmt: skip


class TestCreate:
    async def test_answer_is_the_whole_model_with_its_defaults(self, api: Api) -> None:
        created = await create(api)
        assert created == {
            "$id": "w1",
            "$createdAt": created["$createdAt"],
            "$updatedAt": created["$createdAt"],
            "name": "Orders",
            "url": URL,
            "events": ["databases.*.tables.orders.rows.*.create"],
            "tls": False,
            "authUsername": "",
            "authPassword": "",
            "secret": created["secret"],
            "enabled": True,
            "logs": "",
            "attempts": 0,
        }
        assert len(created["secret"]) == 128
        assert int(created["secret"], 16)

    async def test_everything_that_is_given_is_kept(self, api: Api) -> None:
        given = {
            "webhookId": "w2",
            "secret": "a secret of mine",
            "enabled": False,
            "tls": True,
            "authUsername": "ada",
            "authPassword": "lovelace",
            "events": ["users.*", "users.*", "buckets.*.files.*.create"],
        }
        created = await create(api, **given)
        assert created["$id"] == "w2"
        assert created["events"] == ["users.*", "buckets.*.files.*.create"]
        assert {name: created[name] for name in given if name not in ("webhookId", "events")} == {
            name: value for name, value in given.items() if name not in ("webhookId", "events")
        }

    async def test_secrets_are_sealed_in_sql_and_in_redis(self, api: Api) -> None:
        await create(api, secret="a secret of mine", authUsername="ada", authPassword="lovelace")
        row, record = await row_of(api), (await in_read_model(api))["w1"]
        sealer: Sealer = api.services.sealer
        assert "secret of mine" not in str(row) + str(record)
        assert "lovelace" not in str(row) + str(record)
        assert sealer.unseal(row["secret"]) == sealer.unseal(record.secret) == "a secret of mine"
        assert sealer.unseal(row["auth_password"]) == sealer.unseal(record.auth_password) == "lovelace"

    async def test_event_tells_it_without_secrets(self, api: Api) -> None:
        created = await create(api, authPassword="lovelace")
        event = (await api.published())[-1]
        assert event.events == ["webhooks.w1.create", "webhooks.*.create", "webhooks.w1", "webhooks.*"]
        assert event.channels == []
        assert event.payload == created | {"secret": "", "authPassword": ""}

    async def test_workers_know_of_it_when_it_is_answered(self, api: Api) -> None:
        await create(api, enabled=False, tls=True, authUsername="ada")
        record = (await in_read_model(api))["w1"]
        assert (record.name, record.url, record.enabled, record.tls) == ("Orders", URL, False, True)
        assert record.events == ("databases.*.tables.orders.rows.*.create",)
        assert record.auth_username == "ada"

    async def test_id_that_is_taken_is_refused(self, api: Api) -> None:
        await create(api)
        response = await api.server.post("/v1/webhooks", json=body())
        assert (response.status_code, response.json()["type"]) == (409, "webhook_already_exists")

    async def test_id_may_be_left_to_the_server(self, api: Api) -> None:
        created = await create(api, webhookId="unique()")
        assert len(created["$id"]) == 20


class TestWatcher:
    async def test_watcher_of_versions_has_it_within_a_second(self, api: Api) -> None:
        store = TriggerStore(api.services.bus.redis)
        before = await store.versions()

        async def watch() -> float:
            while True:
                changed = [old != new for old, new in zip(before, await store.versions(), strict=True)]
                if any(changed) and (await store.read(PROJECT)).webhooks:
                    return time.monotonic()
                await asyncio.sleep(0.01)

        async with asyncio.timeout(10):
            watcher = asyncio.create_task(watch())
            started = time.monotonic()
            await create(api)
            assert await watcher - started < 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestRefused:
    """What no database has a part in."""

    @pytest.mark.parametrize(
        ("members", "reason"),
        [
            ({"name": ""}, "`name`"),
            ({"name": "n" * 129}, "`name`"),
            ({"webhookId": "-x"}, "`webhookId`"),
            ({"url": "ftp://example.com/"}, "`url` param: URL must be one of http or https"),
            ({"url": "http://localhost/"}, "`url` param: URL must have a public host"),
            ({"url": "http://169.254.169.254/"}, "`url` param: URL must have a public host"),
            ({"url": "http://[::ffff:10.0.0.1]/"}, "`url` param: URL must have a public host"),
            ({"url": "https://93.184.216.34:25/"}, "`url` param: URL must have port 80, 443"),
            ({"url": "https://a.example/" + "x" * 2048}, "`url`"),
            ({"url": 7}, "`url`"),
            ({"events": ["users"]}, "`events` param: Event is not valid."),
            ({"events": ["*"]}, "`events` param: Event is not valid."),
            ({"events": [f"users.u{number}" for number in range(101)]}, "`events`"),
            ({"events": "users.*"}, "`events`"),
            ({"secret": "1234567"}, "`secret`"),
            ({"secret": "s" * 257}, "`secret`"),
            ({"authUsername": "u" * 257}, "`authUsername`"),
            ({"authPassword": "p" * 257}, "`authPassword`"),
            ({"enabled": "perhaps"}, "`enabled`"),
            ({"tls": None}, "`tls`"),
        ],
    )
    async def test_bad_member_is_named(self, api: Api, members: dict[str, Any], reason: str) -> None:
        response = await api.server.post("/v1/webhooks", json=body(**members))
        assert (response.status_code, response.json()["type"]) == (400, "general_argument_invalid")
        assert reason in response.json()["message"]
        assert await in_read_model(api) == {}

    @pytest.mark.parametrize("missing", ["webhookId", "name", "url", "events"])
    async def test_member_that_is_missing_is_named(self, api: Api, missing: str) -> None:
        given = body()
        del given[missing]
        response = await api.server.post("/v1/webhooks", json=given)
        assert response.status_code == 400
        assert response.json()["message"] == f'Param "{missing}" is not optional.'

    async def test_public_name_that_does_not_resolve_is_taken(self, api: Api) -> None:
        created = await create(api, url="https://not-yet.example.com/hook")
        assert created["url"] == "https://not-yet.example.com/hook"

    async def test_change_is_judged_as_creation_is(self, api: Api) -> None:
        await create(api)
        for changed in ({"url": "http://10.0.0.1/"}, {"events": ["users"]}, {"name": ""}):
            response = await api.server.put("/v1/webhooks/w1", json=body(**changed))
            assert response.status_code == 400
        assert (await row_of(api))["url"] == URL

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
    async def test_webhook_that_is_not_there_is_not_found(self, api: Api, method: str) -> None:
        path = "/v1/webhooks/none" + ("/secret" if method == "PATCH" else "")
        response = await api.server.request(method, path, json=body())
        assert (response.status_code, response.json()["type"]) == (404, "webhook_not_found")
        assert response.json()["message"] == "Webhook with the requested ID could not be found."

    async def test_only_keys_with_the_scope_may(self, api: Api) -> None:
        reader = await api.add_key("webhooks.read")
        assert (await reader.get("/v1/webhooks")).status_code == 200
        for client in (reader, api.guest(), await api.add_key("teams.write")):
            response = await client.post("/v1/webhooks", json=body())
            assert (response.status_code, response.json()["type"]) == (401, "general_unauthorized_scope")
        assert (await api.guest().get("/v1/webhooks")).status_code == 401


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestPrivateTargets:
    @pytest.fixture(
        params=[{"webhooks_allow_private": True}, {"webhooks_allowed_networks": ("127.0.0.0/8", "::1")}]
    )
    def overrides(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        members: dict[str, Any] = request.param
        return members

    async def test_they_are_taken_where_the_settings_say_so(self, api: Api) -> None:
        await create(api, url="http://127.0.0.1:3000/")
        await create(api, webhookId="w2", url="http://localhost:3000/")


class TestRead:
    async def test_secret_is_shown_no_more_and_the_password_is(self, api: Api) -> None:
        created = await create(api, authPassword="lovelace")
        shown = (await api.server.get("/v1/webhooks/w1")).json()
        assert shown == created | {"secret": ""}
        listed = (await api.server.get("/v1/webhooks")).json()
        assert listed == {"total": 1, "webhooks": [shown]}

    @pytest.mark.parametrize(
        ("attribute", "value", "found"),
        [
            ("name", "Orders", ["w1"]),
            ("url", "https://8.8.8.8/", ["w2"]),
            ("enabled", False, ["w2"]),
            ("tls", True, ["w2"]),
            ("authUsername", "ada", ["w2"]),
            ("attempts", 0, ["w1", "w2"]),
        ],
    )
    async def test_list_can_be_filtered(self, api: Api, attribute: str, value: Any, found: list[str]) -> None:
        await create(api)
        await create(
            api, webhookId="w2", name="B", url="https://8.8.8.8/", enabled=False, tls=True, authUsername="ada"
        )
        query = f'{{"method":"equal","attribute":"{attribute}","values":[{httpx_json(value)}]}}'
        listed = (await api.server.get("/v1/webhooks", params={"queries[0]": query})).json()
        assert [each["$id"] for each in listed["webhooks"]] == found

    async def test_list_can_be_filtered_by_event(self, api: Api) -> None:
        await create(api)
        await create(api, webhookId="w2", events=["users.*.create"])
        query = '{"method":"contains","attribute":"events","values":["users.*.create"]}'
        listed = (await api.server.get("/v1/webhooks", params={"queries[0]": query, "total": "false"})).json()
        assert ([each["$id"] for each in listed["webhooks"]], listed["total"]) == (["w2"], 0)

    async def test_password_of_a_lost_key_is_left_out(self, api: Api) -> None:
        await create(api, authPassword="lovelace")
        async with api.services.store.database.writing() as connection:
            sealed = Sealer(["another key"]).seal("lovelace")
            await connection.execute(tables.webhooks.update().values(auth_password=sealed))
        response = await api.server.get("/v1/webhooks/w1")
        assert (response.status_code, response.json()["authPassword"]) == (200, "")


def httpx_json(value: Any) -> str:
    return httpx.Request("POST", "http://x", json=value).content.decode()


class TestUpdate:
    async def test_all_but_the_secret_is_replaced(self, api: Api) -> None:
        created = await create(api, tls=True, authUsername="ada", authPassword="lovelace", secret="12345678")
        given = {"name": "New", "url": "https://8.8.8.8/", "events": []}
        changed = (await api.server.put("/v1/webhooks/w1", json=given)).json()
        assert changed == created | given | {
            "$updatedAt": changed["$updatedAt"],
            "tls": False,
            "authUsername": "",
            "authPassword": "",
            "secret": "",
        }
        record = (await in_read_model(api))["w1"]
        assert (record.name, record.url, record.events, record.tls) == ("New", "https://8.8.8.8/", (), False)
        assert (record.auth_username, record.auth_password) == ("", "")
        assert api.services.sealer.unseal(record.secret) == "12345678"
        event = (await api.published())[-1]
        assert event.name == "webhooks.w1.update"
        assert event.payload == changed

    async def test_enabling_forgives_failures(self, api: Api) -> None:
        await create(api, enabled=False)
        await fail(api, attempts=10)
        disabled = (await api.server.put("/v1/webhooks/w1", json=body(enabled=False))).json()
        assert (disabled["attempts"], disabled["enabled"]) == (10, False)
        assert not (await in_read_model(api))["w1"].enabled
        enabled = (await api.server.put("/v1/webhooks/w1", json=body())).json()
        assert (enabled["attempts"], enabled["enabled"], enabled["logs"]) == (0, True, "Status code: 500")
        assert (await row_of(api))["failing_since"] is None
        assert (await in_read_model(api))["w1"].enabled

    async def test_webhook_of_another_project_is_out_of_reach(self, api: Api) -> None:
        await create(api)
        async with api.services.store.database.writing() as connection:
            await connection.execute(tables.webhooks.update().values(project_id="other"))
        assert (await api.server.get("/v1/webhooks/w1")).status_code == 404
        assert (await api.server.put("/v1/webhooks/w1", json=body())).status_code == 404
        assert (await api.server.delete("/v1/webhooks/w1")).status_code == 404
        assert (await api.server.patch("/v1/webhooks/w1/secret", json={})).status_code == 404
        assert (await api.server.get("/v1/webhooks")).json() == {"total": 0, "webhooks": []}


class TestSecret:
    async def test_new_one_is_made_and_shown_once(self, api: Api) -> None:
        created = await create(api)
        changed = (await api.server.patch("/v1/webhooks/w1/secret", json={})).json()
        assert changed["secret"] != created["secret"]
        assert len(changed["secret"]) == 128
        record = (await in_read_model(api))["w1"]
        assert api.services.sealer.unseal(record.secret) == changed["secret"]
        event = (await api.published())[-1]
        assert (event.name, event.payload["secret"]) == ("webhooks.w1.update", "")
        assert (await api.server.get("/v1/webhooks/w1")).json()["secret"] == ""

    async def test_it_can_be_chosen(self, api: Api) -> None:
        await create(api)
        changed = (await api.server.patch("/v1/webhooks/w1/secret", json={"secret": "my own one"})).json()
        assert changed["secret"] == "my own one"
        refused = await api.server.patch("/v1/webhooks/w1/secret", json={"secret": "short"})
        assert refused.status_code == 400

    async def test_former_secret_signs_for_a_day_more(self, api: Api) -> None:
        await create(api, secret="the first one")
        for secret, former in (("the second one", "the first one"), ("the third one", "the second one")):
            before = time.time()
            await api.server.patch("/v1/webhooks/w1/secret", json={"secret": secret})
            row, record = await row_of(api), (await in_read_model(api))["w1"]
            assert api.services.sealer.unseal(record.secret) == secret
            assert api.services.sealer.unseal(record.former_secret) == former
            assert former not in str(row) + str(record)
            assert before - 1 <= record.former_secret_until - 86_400 <= time.time() + 1

    async def test_change_that_is_repeated_leaves_the_former_secret(self, api: Api) -> None:
        await create(api, secret="the first one")
        for _ in range(2):
            changed = await api.server.patch("/v1/webhooks/w1/secret", json={"secret": "the second one"})
            assert changed.json()["secret"] == "the second one"
        record = (await in_read_model(api))["w1"]
        assert api.services.sealer.unseal(record.secret) == "the second one"
        assert api.services.sealer.unseal(record.former_secret) == "the first one"

    async def test_secret_of_a_lost_key_can_be_replaced(self, api: Api) -> None:
        await create(api)
        lost = Sealer(["a key that is gone"]).seal("the first one")
        async with api.services.store.database.writing() as connection:
            await connection.execute(tables.webhooks.update().values(secret=lost))
        changed = await api.server.patch("/v1/webhooks/w1/secret", json={"secret": "the second one"})
        assert changed.status_code == 200
        record = (await in_read_model(api))["w1"]
        assert api.services.sealer.unseal(record.secret) == "the second one"

    async def test_other_changes_leave_the_former_secret(self, api: Api) -> None:
        await create(api, secret="the first one")
        await api.server.patch("/v1/webhooks/w1/secret", json={"secret": "the second one"})
        before = (await in_read_model(api))["w1"]
        await api.server.put("/v1/webhooks/w1", json=body(name="New"))
        record = (await in_read_model(api))["w1"]
        assert (record.name, record.secret, record.former_secret) == (
            "New",
            before.secret,
            before.former_secret,
        )

    @pytest.mark.parametrize("overrides", [{"webhooks_secret_overlap_s": 0}])
    async def test_former_secret_is_forgotten_at_once_where_it_shall_be(self, api: Api) -> None:
        await create(api, secret="the first one")
        await api.server.patch("/v1/webhooks/w1/secret", json={"secret": "the second one"})
        record = (await in_read_model(api))["w1"]
        assert (record.former_secret, record.former_secret_until) == ("", 0.0)


class TestDelete:
    async def test_it_is_gone_everywhere(self, api: Api) -> None:
        await create(api)
        response = await api.server.delete("/v1/webhooks/w1")
        assert (response.status_code, response.content) == (204, b"")
        assert (await api.server.get("/v1/webhooks/w1")).status_code == 404
        assert await in_read_model(api) == {}
        event = (await api.published())[-1]
        assert (event.name, event.payload["$id"], event.payload["secret"]) == (
            "webhooks.w1.delete",
            "w1",
            "",
        )

    async def test_its_deliveries_go_and_those_of_others_stay(self, api: Api) -> None:
        for webhook_id in ("w1", "w2"):
            await create(api, webhookId=webhook_id)
            await deliver(api, webhook_id)
        assert (await api.server.delete("/v1/webhooks/w1")).status_code == 204
        keep = {"webhooks_delivered_max_age_s": 0, "webhooks_dead_max_age_s": 0}
        await Maintenance(api.services.store, api.settings.model_copy(update=keep)).run()
        async with api.services.store.read() as connection:
            for table in (tables.deliveries, tables.attempts, tables.webhook_events):
                assert len((await connection.execute(select(table))).all()) == 1
            assert await connection.scalar(select(tables.deliveries.c.webhook_id)) == "w2"

    async def test_its_deliveries_are_shown_no_more_and_not_made_anew(self, api: Api) -> None:
        await create(api)
        await deliver(api, "w1")
        async with api.services.store.read() as connection:
            delivery_id = await connection.scalar(select(tables.deliveries.c.id))
        await api.server.delete("/v1/webhooks/w1")
        path = "/v1/webhooks/w1/deliveries"
        for gone in (path, f"{path}/{delivery_id}"):
            assert (await api.server.get(gone)).json()["type"] == "webhook_not_found"
        await create(api)
        assert (await api.server.get(path)).json() == {"total": 0, "deliveries": []}
        for answer in (
            await api.server.get(f"{path}/{delivery_id}"),
            await api.server.post(f"{path}/{delivery_id}/redelivery"),
        ):
            assert answer.json()["type"] == "webhook_delivery_not_found"
        again = {"since": "2020-01-01", "status": "delivered"}
        for redeliveries in ("/v1/webhooks/w1/redeliveries", "/v1/webhooks/redeliveries"):
            assert (await api.server.post(redeliveries, json=again)).json()["total"] == 0

    async def test_project_that_is_deleted_takes_them_along(self, api: Api) -> None:
        await create(api)
        await deliver(api, "w1")
        async with api.services.store.write(Project(PROJECT)) as tx:
            assert await delete_project(tx)
        async with api.services.store.read() as connection:
            for table in (tables.deliveries, tables.attempts, tables.webhook_events):
                assert (await connection.execute(select(table))).all() == []


class TestAliases:
    ROOT = "the-root-key-of-tests"

    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"root_key": self.ROOT}

    async def test_root_key_manages_webhooks_of_a_named_project(self, api: Api) -> None:
        root = api.holder(self.ROOT)
        path = f"/v1/projects/{PROJECT}/webhooks"
        assert (await root.post(path, json=body())).status_code == 201
        assert (await root.get(path)).json()["total"] == 1
        assert (await root.put(f"{path}/w1", json=body(name="New"))).json()["name"] == "New"
        assert (await root.patch(f"{path}/w1/secret", json={})).json()["secret"]
        assert (await root.get(f"{path}/w1")).json()["name"] == "New"
        assert (await in_read_model(api))["w1"].name == "New"
        assert (await root.delete(f"{path}/w1")).status_code == 204

    async def test_project_that_is_not_there_is_not_found(self, api: Api) -> None:
        response = await api.holder(self.ROOT).get("/v1/projects/none/webhooks")
        assert (response.status_code, response.json()["type"]) == (404, "project_not_found")

    async def test_nobody_else_may(self, api: Api) -> None:
        response = await api.server.get(f"/v1/projects/{PROJECT}/webhooks")
        assert (response.status_code, response.json()["type"]) == (401, "general_unauthorized_scope")

    async def test_deleted_project_takes_its_webhooks_along(self, api: Api) -> None:
        await create(api)
        store = TriggerStore(api.services.bus.redis)
        before = (await store.read(PROJECT)).version
        assert (await api.holder(self.ROOT).delete(f"/v1/projects/{PROJECT}")).status_code == 204
        found = await store.read(PROJECT)
        assert found.webhooks == ()
        assert found.version > before
        async with api.services.store.read() as connection:
            assert (await connection.execute(select(tables.webhooks))).all() == []


class TestRaces:
    async def test_project_that_is_being_deleted_gets_no_webhook(self, api: Api) -> None:
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            await delete_project(tx)
            creating = asyncio.create_task(api.server.post("/v1/webhooks", json=body()))
            if tx.connection.dialect.name == "postgresql":
                await until_blocked(api)
        response = await creating
        assert (response.status_code, response.json()["type"]) == (404, "project_not_found")
        async with api.services.store.read() as connection:
            assert (await connection.execute(select(tables.webhooks))).all() == []

    async def test_changes_at_once_leave_workers_with_what_sql_has(self, api: Api) -> None:
        await create(api)
        names = [f"Name {number}" for number in range(10)]
        changes = (api.server.put("/v1/webhooks/w1", json=body(name=name)) for name in names)
        assert {response.status_code for response in await asyncio.gather(*changes)} == {200}
        assert (await in_read_model(api))["w1"].name == (await row_of(api))["name"]
