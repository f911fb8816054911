"""Events of unmodified Appwrite containers: wire specification 9.2, end to end."""

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from realtime.bus.keys import BRIDGE_CHANNEL, user_key
from realtime.identity.model import Membership

if TYPE_CHECKING:
    from tests.realtime.hub.conftest import Client, RunningHub, Start

pytestmark = pytest.mark.asyncio(loop_scope="module")

HUB_SETTINGS = {"bridge": True}

POSTS = "databases.main.tables.posts.rows"


def appwrite_envelope(hub: "RunningHub", **members: Any) -> dict[str, Any]:
    """Return an envelope as Appwrite publishes it, without the members that may be missing."""
    data = {
        "events": ["databases.main.collections.posts.documents.1.create"],
        "channels": ["documents", "rows", POSTS],
        "timestamp": "2026-08-01T12:00:00.000+00:00",
        "payload": {"$id": "1"},
    }
    return {"project": hub.project, "roles": ["any"], "data": data} | members


async def marker_after(hub: "RunningHub", client: "Client") -> list[dict[str, Any]]:
    """Publish one more event over the bridge, which must arrive; return the frames before it."""
    marker = appwrite_envelope(hub)
    marker["data"]["payload"] = {"marker": True}
    await hub.hub.redis.publish(BRIDGE_CHANNEL, json.dumps(marker))
    frames = []
    while (frame := await client.receive())["data"].get("payload") != {"marker": True}:
        frames.append(frame)
    return frames


async def write_silently(hub: "RunningHub", user_id: str, *memberships: Membership) -> None:
    """Change a user's record without the announcement that writers of this project make."""
    user = await hub.hub.store.get_user(hub.project, user_id)
    assert user is not None
    record = msgspec.json.encode(msgspec.structs.replace(user, memberships=memberships))
    await hub.hub.redis.set(user_key(hub.project, user_id), record)


class TestBridge:
    """9.2: envelopes of unmodified Appwrite containers, on the one channel ``realtime``."""

    async def test_envelope_is_delivered_to_its_readers(self, shared: "RunningHub") -> None:
        async with shared.greeted(jwt=shared.token("ada")) as ada, shared.greeted() as guest:
            await ada.subscribe("rows")
            await guest.subscribe("rows")
            envelope = appwrite_envelope(shared, roles=["user:ada"], permissionsChanged=False, userId=None)
            await shared.hub.redis.publish(BRIDGE_CHANNEL, json.dumps(envelope))
            frame = await ada.receive()

            assert frame == {"type": "event", "data": envelope["data"] | {"subscriptions": ["s"]}}
            assert await ada.receive_waiting() == await guest.receive_waiting() == []

    @pytest.mark.parametrize(
        ("changes", "payload"),
        [
            ({}, {"$id": "1"}),
            ({"permissionsChanged": None}, None),
            ({"extra": {"deeply": ["nested"]}}, {"$id": "1"}),
            ({"userId": 5}, None),
            ({"data": {"channels": ["rows"], "events": [], "timestamp": "", "payload": []}}, []),
            ({"data": {"channels": ["rows"], "payload": {"x": 1}}}, {"x": 1}),
            ({"data": {"channels": ["rows"]}}, ...),
            ({"data": {}}, None),
            ({"data": []}, None),
            ({"data": {"channels": "rows"}}, None),
            ({"project": None}, None),
            ({"project": "another"}, None),
            ({"roles": None}, None),
            ({"roles": []}, None),
            ({"roles": "any"}, None),
            ({"roles": ["nonsense", "any"]}, {"$id": "1"}),
        ],
    )
    async def test_members_may_be_missing_strange_or_more(
        self, shared: "RunningHub", changes: dict[str, Any], payload: object
    ) -> None:
        """``payload`` is what arrives: None for no event, ``...`` for one without a payload."""
        envelope = appwrite_envelope(shared) | changes

        async with shared.greeted() as client:
            await client.subscribe("rows")
            await shared.hub.redis.publish(BRIDGE_CHANNEL, json.dumps(envelope))
            frames = await marker_after(shared, client)

        expected = [] if payload is None else [payload]
        assert [frame["data"].get("payload", ...) for frame in frames] == expected

    @pytest.mark.parametrize(
        "garbage",
        [
            b"",
            b"hello",
            b"{",
            b"null",
            b"[]",
            b"{}",
            b"5",
            b"\xff\xfe",
            b"[" * 100_000,
            b'{"project":' * 1000,
            b'{"data":{"a":' * 5000 + b"1" + b"}}" * 5000,
        ],
        ids=lambda garbage: repr(garbage[:12]),
    )
    async def test_garbage_is_ignored(self, shared: "RunningHub", garbage: bytes) -> None:
        async with shared.greeted() as client:
            await client.subscribe("rows")
            await shared.hub.redis.publish(BRIDGE_CHANNEL, garbage)

            assert await marker_after(shared, client) == []

    async def test_project_without_connections_is_no_matter(self, shared: "RunningHub") -> None:
        envelope = appwrite_envelope(shared) | {"project": "nobody-here"}

        async with shared.greeted() as client:
            await client.subscribe("rows")
            await shared.hub.redis.publish(BRIDGE_CHANNEL, json.dumps(envelope))

            assert await marker_after(shared, client) == []

    async def test_permissions_changed_reads_the_roles_of_the_subject_first(
        self, shared: "RunningHub"
    ) -> None:
        """8.3: whoever was just added to a team hears of it. Appwrite does not announce it otherwise."""
        session = await shared.add_user("ada")

        async with shared.greeted(headers={"X-Appwrite-Session": session}) as ada:
            await ada.subscribe("rows")
            await write_silently(shared, "ada", Membership("m1", "red"))
            unannounced = appwrite_envelope(shared, roles=["team:red"])
            announced = unannounced | {"permissionsChanged": True, "userId": "ada"}
            await shared.hub.redis.publish(BRIDGE_CHANNEL, json.dumps(unannounced))
            assert await marker_after(shared, ada) == []
            await shared.hub.redis.publish(BRIDGE_CHANNEL, json.dumps(announced))

            assert (await ada.receive_event())["payload"] == {"$id": "1"}

    async def test_bridge_is_off_by_default(self, start_hub: "Start") -> None:
        async with start_hub() as hub, hub.greeted() as client:
            await client.subscribe("rows")
            heard = await hub.hub.redis.publish(BRIDGE_CHANNEL, json.dumps(appwrite_envelope(hub)))
            await client.assert_silent()

        assert heard == 0
