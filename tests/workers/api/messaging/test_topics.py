"""Topics, their subscribers, and the totals, which are true whatever happens to people and their targets."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from tests.api import Api
from workers.store import tables

SignUp = Callable[[str], Awaitable[httpx.AsyncClient]]
Person = Callable[[str], Awaitable[str]]

TOPICS = "/v1/messaging/topics"
NEWS = f"{TOPICS}/news"
SUBSCRIBERS = f"{NEWS}/subscribers"


async def create(api: Api, topic_id: str = "news", **values: Any) -> dict[str, Any]:
    made = await api.server.post(TOPICS, json={"topicId": topic_id, "name": "News", **values})
    assert made.status_code == 201, made.text
    return dict(made.json())


async def subscribe(
    client: httpx.AsyncClient, target_id: str, subscriber_id: str = "unique()", topic_id: str = "news"
) -> httpx.Response:
    body = {"subscriberId": subscriber_id, "targetId": target_id}
    return await client.post(f"{TOPICS}/{topic_id}/subscribers", json=body)


async def totals(api: Api, topic_id: str = "news") -> tuple[int, int, int]:
    topic = (await api.server.get(f"{TOPICS}/{topic_id}")).json()
    return topic["emailTotal"], topic["smsTotal"], topic["pushTotal"]


async def count(api: Api) -> int:
    async with api.services.store.read() as connection:
        counted = await connection.execute(select(func.count()).select_from(tables.subscribers))
        return int(counted.scalar_one())


class TestTopics:
    async def test_users_may_subscribe_to_a_new_topic(self, api: Api) -> None:
        topic = await create(api)
        assert topic == {
            "$id": "news",
            "$createdAt": topic["$createdAt"],
            "$updatedAt": topic["$createdAt"],
            "name": "News",
            "emailTotal": 0,
            "smsTotal": 0,
            "pushTotal": 0,
            "subscribe": ["users"],
        }
        assert (await api.server.get(NEWS)).json() == topic
        taken = await api.server.post(TOPICS, json={"topicId": "news", "name": "Other"})
        assert (taken.status_code, taken.json()["type"]) == (409, "topic_already_exists")

    async def test_what_is_left_out_of_an_update_stays(self, api: Api) -> None:
        await create(api, subscribe=["team:red", "team:red"])
        changed = (await api.server.patch(NEWS, json={"name": "Olds"})).json()
        assert (changed["name"], changed["subscribe"]) == ("Olds", ["team:red"])
        changed = (await api.server.patch(NEWS, json={"subscribe": []})).json()
        assert (changed["name"], changed["subscribe"]) == ("Olds", [])

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_wrong_roles_are_refused(self, api: Api) -> None:
        wrong: tuple[Any, ...] = ("users", ["everybody"], ["user:a"] * 101, ["label:" + "a" * 60])
        for roles in wrong:
            body = {"topicId": "news", "name": "News", "subscribe": roles}
            response = await api.server.post(TOPICS, json=body)
            assert response.status_code == 400, response.text

    async def test_topic_goes_with_its_subscribers(self, api: Api, person: Person) -> None:
        await create(api)
        await subscribe(api.server, await person("ann"))
        assert (await api.server.delete(NEWS)).status_code == 204
        assert await count(api) == 0
        for response in (
            await api.server.get(NEWS),
            await api.server.patch(NEWS, json={}),
            await api.server.delete(NEWS),
            await api.server.get(SUBSCRIBERS),
        ):
            assert (response.status_code, response.json()["type"]) == (404, "topic_not_found")

    async def test_topics_are_listed_by_their_totals(self, api: Api, person: Person) -> None:
        await create(api)
        await create(api, "other", name="Quiet")
        await subscribe(api.server, await person("ann"))
        full = '{"method":"greaterThan","attribute":"emailTotal","values":[0]}'
        listed = (await api.server.get(TOPICS, params={"queries[0]": full})).json()
        assert [each["$id"] for each in listed["topics"]] == ["news"]
        listed = (await api.server.get(TOPICS, params={"search": "quiet"})).json()
        assert [each["$id"] for each in listed["topics"]] == ["other"]


class TestSubscribe:
    async def test_key_subscribes_anybody(self, api: Api, person: Person) -> None:
        await create(api, subscribe=[])
        target_id = await person("ann")
        response = await subscribe(api.server, target_id, "s1")
        assert response.status_code == 201, response.text
        subscriber = response.json()
        assert subscriber == {
            "$id": "s1",
            "$createdAt": subscriber["$createdAt"],
            "$updatedAt": subscriber["$createdAt"],
            "targetId": target_id,
            "target": (await api.server.get("/v1/users/ann")).json()["targets"][0],
            "userId": "ann",
            "userName": "Ann",
            "topicId": "news",
            "providerType": "email",
        }
        assert (await api.server.get(f"{SUBSCRIBERS}/s1")).json() == subscriber
        for search, shown in (("", [subscriber]), ("ANN", [subscriber]), ("eve", [])):
            listed = (await api.server.get(SUBSCRIBERS, params={"search": search})).json()
            assert listed == {"total": len(shown), "subscribers": shown}
        missing = await api.server.get(f"{SUBSCRIBERS}/s2")
        assert (missing.status_code, missing.json()["type"]) == (404, "subscriber_not_found")
        assert await totals(api) == (1, 0, 0)

    async def test_target_is_subscribed_once(self, api: Api, person: Person) -> None:
        await create(api)
        target_id = await person("ann")
        await subscribe(api.server, target_id, "s1")
        for subscriber_id, other in (("s1", await person("eve")), ("s2", target_id)):
            response = await subscribe(api.server, other, subscriber_id)
            assert (response.status_code, response.json()["type"]) == (409, "subscriber_already_exists")
        assert await totals(api) == (1, 0, 0)

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_unknown_topic_or_target_is_refused(self, api: Api, person: Person) -> None:
        target_id = await person("ann")
        response = await subscribe(api.server, target_id)
        assert (response.status_code, response.json()["type"]) == (404, "topic_not_found")
        await create(api)
        response = await subscribe(api.server, "nothing")
        assert (response.status_code, response.json()["type"]) == (404, "user_target_not_found")

    async def test_many_at_once_are_all_counted(self, api: Api, person: Person) -> None:
        await create(api)
        target_ids = [await person(f"p{number}") for number in range(6)]
        responses = await asyncio.gather(*(subscribe(api.server, each) for each in target_ids))
        assert [response.status_code for response in responses] == [201] * 6
        assert await totals(api) == (6, 0, 0)


class TestUsers:
    async def test_user_subscribes_their_own_target(self, api: Api, sign_up: SignUp) -> None:
        await create(api)
        ann = await sign_up("ann")
        target_id = (await ann.get("/v1/account")).json()["targets"][0]["$id"]
        assert (await subscribe(ann, target_id, "s1")).status_code == 201
        assert (await ann.delete(f"{SUBSCRIBERS}/s1")).status_code == 204
        assert await totals(api) == (0, 0, 0)

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_targets_and_subscribers_of_others_are_none(
        self, api: Api, sign_up: SignUp, person: Person
    ) -> None:
        await create(api)
        target_id = await person("ann")
        await subscribe(api.server, target_id, "s1")
        eve = await sign_up("eve")
        response = await subscribe(eve, target_id)
        assert (response.status_code, response.json()["type"]) == (404, "user_target_not_found")
        response = await eve.delete(f"{SUBSCRIBERS}/s1")
        assert (response.status_code, response.json()["type"]) == (404, "subscriber_not_found")
        assert await totals(api) == (1, 0, 0)

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_only_roles_of_the_topic_may_subscribe(self, api: Api, sign_up: SignUp) -> None:
        ann = await sign_up("ann")
        target_id = (await ann.get("/v1/account")).json()["targets"][0]["$id"]
        await create(api, subscribe=["label:reader"])
        refused = await subscribe(ann, target_id)
        assert (refused.status_code, refused.json()["type"]) == (401, "user_unauthorized")
        await create(api, "mine", subscribe=["user:ann"])
        assert (await subscribe(ann, target_id, topic_id="mine")).status_code == 201
        await create(api, "all", subscribe=["any"])
        assert (await subscribe(ann, target_id, topic_id="all")).status_code == 201

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_guests_and_lists_are_refused(self, api: Api, sign_up: SignUp) -> None:
        await create(api)
        assert (await subscribe(api.guest(), "any")).status_code == 401
        ann = await sign_up("ann")
        for path in (TOPICS, NEWS, SUBSCRIBERS):
            assert (await ann.get(path)).status_code == 401


class TestTotals:
    async def test_deleted_target_leaves_all_topics(self, api: Api, person: Person) -> None:
        await person("ann")
        for topic_id in ("news", "other"):
            await create(api, topic_id)
        sms = {"targetId": "sms", "providerType": "sms", "identifier": "+15550100"}
        push = {"targetId": "push", "providerType": "push", "identifier": "token"}
        for body in (sms, push):
            await api.server.post("/v1/users/ann/targets", json=body)
            for topic_id in ("news", "other"):
                assert (await subscribe(api.server, body["targetId"], topic_id=topic_id)).status_code == 201
        assert await totals(api) == await totals(api, "other") == (0, 1, 1)
        await api.server.delete("/v1/users/ann/targets/sms")
        assert await totals(api) == await totals(api, "other") == (0, 0, 1)

    async def test_deleted_user_leaves_all_topics(self, api: Api, person: Person) -> None:
        await create(api)
        ann, eve = await person("ann"), await person("eve")
        for target_id in (ann, eve):
            await subscribe(api.server, target_id)
        assert (await api.server.delete("/v1/users/ann")).status_code == 204
        assert (await totals(api), await count(api)) == ((1, 0, 0), 1)

    async def test_address_that_is_given_up_leaves_its_topics(self, api: Api, person: Person) -> None:
        await create(api)
        await subscribe(api.server, await person("ann"))
        await api.server.patch("/v1/users/ann/email", json={"email": "other@example.com"})
        assert await totals(api) == (1, 0, 0)
        changed = await api.server.patch("/v1/users/ann/email", json={"email": ""})
        assert changed.status_code == 200, changed.text
        assert (await totals(api), await count(api)) == ((0, 0, 0), 0)

    async def test_changes_at_once_do_not_wait_for_each_other(self, api: Api, person: Person) -> None:
        """Whatever comes first; neither is a deadlock, and the totals are true."""
        await create(api)
        for round_number in range(3):
            name = f"p{round_number}"
            target_id = await person(name)
            await asyncio.gather(
                subscribe(api.server, target_id),
                api.server.delete(f"/v1/users/{name}"),
                api.server.patch(NEWS, json={"name": name}),
            )
            assert await totals(api) == (await count(api), 0, 0)
        assert await count(api) == 0


class TestLimits:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"limits": "on"}

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_user_cannot_go_on_forever(self, api: Api, sign_up: SignUp) -> None:
        await create(api)
        ann = await sign_up("ann")
        statuses = {(await subscribe(ann, "nothing")).status_code for _ in range(61)}
        assert statuses == {404, 429}
