"""Messages: how they are written and changed. What becomes of them is in test_sending."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api import Api

Person = Callable[[str], Awaitable[str]]

MESSAGES = "/v1/messaging/messages"
EMAIL = {"messageId": "m", "subject": "News", "content": "There is news.", "draft": True}
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="milliseconds")
YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).isoformat()

WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"subject": ""}, "subject"),
    ({"subject": "a\r\nBcc: eve@example.com"}, "subject"),
    *(({"subject": f"a{char}b"}, "subject") for char in "\x1c\x85\u2028\u2029"),
    ({"subject": "s" * 999}, "subject"),
    ({"content": ""}, "content"),
    ({"content": "c" * 64_231}, "content"),
    ({"users": ["u"] * 101}, "users"),
    ({"topics": "news"}, "topics"),
    ({"scheduledAt": "tomorrow"}, "scheduledAt"),
    ({"scheduledAt": YESTERDAY}, "scheduledAt"),
    ({"scheduledAt": 5}, "scheduledAt"),
    ({"attachments": ["bucket:file"]}, "attachments"),
    ({"messageId": "-"}, "messageId"),
)
"""Members of a message that cannot be, and which of them is named."""

MISSING: tuple[tuple[dict[str, Any], int, str], ...] = (
    ({"users": ["nobody"]}, 404, "user_not_found"),
    ({"topics": ["nothing"]}, 404, "topic_not_found"),
    ({"targets": ["nothing"]}, 404, "user_target_not_found"),
    ({"cc": ["nothing"]}, 404, "user_target_not_found"),
    ({"bcc": ["phone"]}, 400, "message_target_not_email"),
    ({"targets": ["phone"]}, 400, "message_target_not_email"),
)
"""Who cannot get an e-mail, and how that is refused."""


async def create(api: Api, **values: Any) -> dict[str, Any]:
    made = await api.server.post(f"{MESSAGES}/email", json=EMAIL | values)
    assert made.status_code == 201, made.text
    return dict(made.json())


class TestCreate:
    async def test_draft_is_shown_and_told(self, api: Api, person: Person) -> None:
        target_id = await person("ann")
        message = await create(api, users=["ann", "ann"], targets=[target_id], html=True)
        assert message == {
            "$id": "m",
            "$createdAt": message["$createdAt"],
            "$updatedAt": message["$createdAt"],
            "providerType": "email",
            "topics": [],
            "users": ["ann"],
            "targets": [target_id],
            "scheduledAt": None,
            "deliveredAt": None,
            "deliveryErrors": [],
            "deliveredTotal": 0,
            "data": {"subject": "News", "content": "There is news.", "cc": [], "bcc": [], "html": True},
            "status": "draft",
        }
        assert (await api.server.get(f"{MESSAGES}/m")).json() == message
        event = (await api.published())[-1]
        assert (event.name, event.payload) == ("messages.m.create", message)
        assert (event.channels, event.roles) == ([], [])

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_draft_needs_nobody_but_others_do(self, api: Api) -> None:
        assert (await create(api))["status"] == "draft"
        for values in ({"draft": False}, {"draft": False, "scheduledAt": TOMORROW}):
            response = await api.server.post(f"{MESSAGES}/email", json=EMAIL | values | {"messageId": "n"})
            assert (response.status_code, response.json()["type"]) == (400, "message_missing_target")

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_scheduled_message_waits(self, api: Api, person: Person) -> None:
        await person("ann")
        message = await create(api, draft=False, users=["ann"], scheduledAt=TOMORROW)
        assert (message["status"], message["scheduledAt"]) == ("scheduled", TOMORROW)

    async def test_id_of_another_is_refused(self, api: Api) -> None:
        await create(api)
        again = await api.server.post(f"{MESSAGES}/email", json=EMAIL)
        assert (again.status_code, again.json()["type"]) == (409, "message_already_exists")

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_wrong_parameter_is_named(self, api: Api) -> None:
        for values, name in WRONG:
            response = await api.server.post(f"{MESSAGES}/email", json=EMAIL | values)
            assert response.status_code == 400
            assert f"`{name}`" in response.json()["message"].replace(".", "`")

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_recipients_have_to_be_there(self, api: Api, person: Person) -> None:
        await person("ann")
        phone = {"targetId": "phone", "providerType": "sms", "identifier": "+15550100"}
        await api.server.post("/v1/users/ann/targets", json=phone)
        for values, status, error_type in MISSING:
            response = await api.server.post(f"{MESSAGES}/email", json=EMAIL | values)
            assert (response.status_code, response.json()["type"]) == (status, error_type)

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_text_messages_and_notifications_say_what_they_say(self, api: Api) -> None:
        sms = await api.server.post(
            f"{MESSAGES}/sms", json={"messageId": "s", "content": "Hello", "draft": True}
        )
        assert (sms.json()["providerType"], sms.json()["data"]) == ("sms", {"content": "Hello"})
        content = {"title": "Hello", "data": {"a": [1]}, "badge": 2, "critical": True, "priority": "high"}
        push = await api.server.post(f"{MESSAGES}/push", json={"messageId": "p", "draft": True, **content})
        assert (push.json()["providerType"], push.json()["data"]) == ("push", content)


class TestUpdate:
    async def test_what_is_left_out_stays(self, api: Api, person: Person) -> None:
        target_id = await person("ann")
        before = await create(api, users=["ann"], cc=[target_id])
        response = await api.server.patch(f"{MESSAGES}/email/m", json={"subject": "Olds"})
        after = response.json()
        assert after == before | {
            "data": before["data"] | {"subject": "Olds"},
            "$updatedAt": after["$updatedAt"],
        }
        event = (await api.published())[-1]
        assert (event.name, event.payload) == ("messages.m.update", after)

    async def test_schedule_is_changed_and_taken_back(self, api: Api, person: Person) -> None:
        await person("ann")
        path = f"{MESSAGES}/email/m"
        await create(api, users=["ann"])
        for body, status in (
            ({"scheduledAt": TOMORROW}, "draft"),
            ({"draft": False}, "scheduled"),
            ({"content": "Other"}, "scheduled"),
            ({"draft": True}, "draft"),
        ):
            changed = (await api.server.patch(path, json=body)).json()
            assert (changed["status"], changed["scheduledAt"]) == (status, TOMORROW)

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_message_without_anybody_stays_a_draft(self, api: Api) -> None:
        await create(api)
        refused = await api.server.patch(f"{MESSAGES}/email/m", json={"draft": False})
        assert (refused.status_code, refused.json()["type"]) == (400, "message_missing_target")
        assert (await api.server.get(f"{MESSAGES}/m")).json()["status"] == "draft"

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_path_of_another_kind_finds_nothing(self, api: Api) -> None:
        await create(api)
        refused = await api.server.patch(f"{MESSAGES}/sms/m", json={"content": "Hello"})
        assert (refused.status_code, refused.json()["type"]) == (404, "message_not_found")


class TestList:
    async def test_messages_are_filtered_and_searched(self, api: Api) -> None:
        await create(api)
        await api.server.post(f"{MESSAGES}/sms", json={"messageId": "s", "content": "Hello", "draft": True})
        of_sms = '{"method":"equal","attribute":"providerType","values":["sms"]}'
        for params in ({"queries[0]": of_sms}, {"search": "HELLO"}):
            listed = (await api.server.get(MESSAGES, params=params)).json()
            assert (listed["total"], [each["$id"] for each in listed["messages"]]) == (1, ["s"])
        assert (await api.server.get(MESSAGES, params={"search": "news"})).json()["total"] == 1

    async def test_targets_are_those_that_are_named(self, api: Api, person: Person) -> None:
        target_id = await person("ann")
        await person("eve")
        await create(api, users=["eve"], targets=[target_id])
        listed = (await api.server.get(f"{MESSAGES}/m/targets")).json()
        assert (listed["total"], [each["$id"] for each in listed["targets"]]) == (1, [target_id])

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_scope_is_needed(self, api: Api) -> None:
        reader = await api.add_key("messages.read")
        assert (await reader.get(MESSAGES)).status_code == 200
        assert (await reader.post(f"{MESSAGES}/email", json=EMAIL)).status_code == 401
        assert (await api.guest().get(MESSAGES)).status_code == 401


class TestDelete:
    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_message_is_gone(self, api: Api) -> None:
        await create(api)
        assert (await api.server.delete(f"{MESSAGES}/m")).status_code == 204
        for response in (
            await api.server.get(f"{MESSAGES}/m"),
            await api.server.get(f"{MESSAGES}/m/targets"),
            await api.server.delete(f"{MESSAGES}/m"),
            await api.server.patch(f"{MESSAGES}/email/m", json={}),
        ):
            assert (response.status_code, response.json()["type"]) == (404, "message_not_found")
