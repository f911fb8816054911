"""Events from a publisher to the frames of their receivers: wire specification 3.2, 5.4, 6.3 and 8.5, end to end.

A real publisher, a real Valkey, a real hub, and clients on sockets. What an event is called and where it goes is
tested row by row in ``tests/realtime/events``; here it is whether that arrives. Who may read it is tested beside this.
"""

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from realtime.bus.keys import live_channel

if TYPE_CHECKING:
    from tests.realtime.hub.conftest import RunningHub

pytestmark = pytest.mark.asyncio(loop_scope="module")

POSTS = "databases.main.tables.posts.rows"
ONE = {"method": "equal", "attribute": "$id", "values": ["1"]}
FOUR = {"method": "equal", "attribute": "$id", "values": ["4"]}


def query(method: str, attribute: str, *values: object) -> str:
    return json.dumps({"method": method, "attribute": attribute, "values": values})


class TestFrame:
    """3.2 and 16.2."""

    async def test_it_has_the_names_and_channels_of_the_documented_example(
        self, shared: "RunningHub"
    ) -> None:
        """The example of Appwrite's documentation: a row of the table ``sample`` was updated."""
        row = "63c98b9baea0938e1206"
        payload = {
            "ip": "127.0.0.1",
            "stringArray": ["sss"],
            "email": "joe@example.com",
            "float": 3.3,
            "boolean": False,
            "integer": 3,
            "$id": row,
            "$createdAt": "2023-01-19T18:27:39.715+00:00",
            "$updatedAt": "2023-01-19T18:30:04.040+00:00",
            "$permissions": [],
            "$tableId": "sample",
            "$databaseId": "default",
        }

        async with shared.greeted() as client:
            await client.subscribe("rows")
            published = await shared.publish(
                f"databases.default.tables.sample.rows.{row}.update",
                payload,
                roles=["any"],
                timestamp="2023-01-19 18:30:04.051",
            )
            frame = await client.receive()

        assert list(frame) == ["type", "data"]
        data = frame["data"]
        assert list(data) == ["events", "channels", "timestamp", "payload", "id", "subscriptions"]
        assert data["events"][0] == f"databases.default.tables.sample.rows.{row}.update"
        assert set(data["events"]) >= {
            f"databases.{database}.tables.{table}.rows.{id_}{action}"
            for database in ("default", "*")
            for table in ("sample", "*")
            for id_ in (row, "*")
            for action in (".update", "")
        } | {
            "databases.default.tables.sample",
            "databases.*.tables.*",
            "databases.default.tables.*",
            "databases.*.tables.sample",
            "databases.default",
            "databases.*",
        }
        assert set(data["channels"]) >= {
            "rows",
            "databases.default.tables.sample.rows",
            f"databases.default.tables.sample.rows.{row}",
        }
        assert data["timestamp"] == "2023-01-19T18:30:04.051+00:00"
        assert data["payload"] == payload
        assert data["id"] == published.id
        assert data["subscriptions"] == ["s"]

    async def test_time_of_publishing_is_the_default(self, shared: "RunningHub") -> None:
        async with shared.greeted() as client:
            await client.subscribe("rows")
            await shared.publish(f"{POSTS}.1.create", {"$id": "1"}, roles=["any"])
            timestamp = (await client.receive_event())["timestamp"]

        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", timestamp)

    @pytest.mark.parametrize(
        "payload",
        [
            b"{}",
            b'{"prefs":{},"list":[]}',
            b'{"text":"\\u00fc \xc3\xbc \xf0\x9f\x98\x80 \\/ /"}',
            b'{"big":12345678901234567890123456789,"small":1e-400,"exact":1.10}',
            b'{"a":1,"a":2}',
            b'{ "white" :\t[ 1,\n 2 ] }',
        ],
    )
    async def test_payload_arrives_as_the_bytes_that_were_published(
        self, shared: "RunningHub", payload: bytes
    ) -> None:
        async with shared.greeted() as client:
            await client.subscribe("rows")
            await shared.publish(f"{POSTS}.1.create", payload, roles=["any"])
            frame = await client.socket.recv(decode=False)

        assert b'"payload":' + payload + b',"id":"' in frame

    @pytest.mark.parametrize("size", [100, 1000, 70_000])
    async def test_frames_of_every_length_arrive_whole(self, shared: "RunningHub", size: int) -> None:
        """The three forms of a frame's length (RFC 6455 section 5.2)."""
        async with shared.greeted() as client:
            await client.subscribe("rows")
            await shared.publish(f"{POSTS}.1.create", {"text": "x" * size}, roles=["any"])

            assert (await client.receive_event())["payload"] == {"text": "x" * size}

    async def test_one_frame_names_every_subscription_that_matches(self, shared: "RunningHub") -> None:
        async with shared.connect(query="channels[]=rows") as client:
            (by_url,) = (await client.receive())["data"]["subscriptions"]
            await client.subscribe("rows", POSTS, "documents", id="one")
            await client.subscribe(POSTS, id="two")
            await client.subscribe("files", id="three")
            await client.subscribe("rows", id="four", queries=[query("equal", "$id", "2")])
            await shared.deliver(f"{POSTS}.1.create", {"$id": "1"}, roles=["any"])
            (frame,) = await client.receive_waiting()

        assert sorted(frame["data"]["subscriptions"]) == sorted([by_url, "one", "two"])

    async def test_order_is_that_of_publishing(self, shared: "RunningHub") -> None:
        """8.5: with none missing, and none twice."""
        async with shared.greeted() as client:
            await client.subscribe("rows", "documents")
            for number in range(200):
                await shared.publish(f"{POSTS}.{number}.create", {"number": number}, roles=["any"])
            events = [await client.receive_event() for _ in range(200)]
            await client.assert_silent()

        assert [event["payload"]["number"] for event in events] == list(range(200))
        positions = [tuple(map(int, event["id"].split("-"))) for event in events]
        assert positions == sorted(set(positions))

    async def test_greeting_tells_the_position_before_the_first_event(self, shared: "RunningHub") -> None:
        """16.3: what comes after that position is received, nothing before it."""
        before = await shared.publish(f"{POSTS}.1.create", {"$id": "1"}, roles=["any"])

        async with shared.connect(query="channels[]=rows") as client:
            greeting = (await client.receive())["data"]
            await shared.publish(f"{POSTS}.2.create", {"$id": "2"}, roles=["any"])
            event = await client.receive_event()

        assert greeting["position"] == before.id
        assert event["payload"] == {"$id": "2"}


class TestChannels:
    """5.4 to 5.6 and 16.9."""

    @pytest.mark.parametrize(
        "channel",
        [
            "rows",
            "documents",
            "rows.create",
            "documents.create",
            "databases.main.tables.posts.rows",
            "databases.main.tables.posts.rows.1",
            "databases.main.tables.posts.rows.create",
            "databases.main.tables.posts.rows.1.create",
            "databases.main.collections.posts.documents",
            "databases.main.collections.posts.documents.1",
            "tablesdb.main.tables.posts.rows",
            "tablesdb.main.tables.posts.rows.1.create",
            "databases.*.tables.posts.rows",
            "databases.main.tables.*.rows",
            "databases.*.tables.*.rows",
            "databases.*.tables.*.rows.*",
            "databases.main.tables.posts.rows.*",
            "databases.main.tables.*.rows.1",
            "databases.*.tables.*.rows.create",
            "databases.*.tables.*.rows.*.create",
            "databases.*.collections.*.documents.*",
            "tablesdb.*.tables.*.rows",
        ],
    )
    async def test_row_reaches(self, shared: "RunningHub", channel: str) -> None:
        async with shared.greeted() as client:
            await client.subscribe(channel)
            await shared.deliver(f"{POSTS}.1.create", {"$id": "1"}, roles=["any"])

            assert len(await client.receive_waiting()) == 1

    @pytest.mark.parametrize(
        "channel",
        [
            "rows.update",
            "rows.*",
            "*.main.tables.posts.rows",
            "databases.main.tables.posts",
            "databases.main.tables.po*.rows",
            "databases.main.*.posts.rows",
            "databases.*.tables.other.rows",
            "databases.*.tables.*.rows.2",
            "databases.*.tables.*.rows.update",
            "databases.*.tables.*.rows.*.update",
            "documentsdb.*.collections.*.documents",
            "Rows",
        ],
    )
    async def test_row_does_not_reach(self, shared: "RunningHub", channel: str) -> None:
        async with shared.greeted() as client:
            await client.subscribe(channel)
            await shared.deliver(f"{POSTS}.1.create", {"$id": "1"}, roles=["any"])

            assert await client.receive_waiting() == []

    @pytest.mark.parametrize(
        ("name", "channel"),
        [
            ("buckets.b.files.f.create", "buckets.*.files.*.create"),
            ("teams.red.update.prefs", "teams.*.update"),
            ("teams.red.memberships.m.delete", "memberships.*"),
            ("functions.f.executions.e.update", "executions.*"),
            ("functions.f.executions.e.update", "functions.*"),
            ("presences.p.delete", "presences.*.delete"),
        ],
    )
    async def test_wildcards_stand_for_ids_of_every_family(
        self, shared: "RunningHub", name: str, channel: str
    ) -> None:
        async with shared.greeted() as client:
            await client.subscribe(channel)
            payload = {"$id": "x", "$permissions": ['read("any")']}
            await shared.deliver(name, payload, permissions=['read("any")'])

            assert len(await client.receive_waiting()) == 1

    async def test_account_has_no_wildcards(self, shared: "RunningHub") -> None:
        async with shared.greeted(jwt=shared.token("ada")) as client:
            answer = await client.subscribe("account.*", "account.*.update", "account.bob")

        assert answer["subscriptions"][0]["channels"] == []


class TestQueries:
    """6.3: the whole table is tested without a server; here, that queries decide what is sent."""

    @pytest.mark.parametrize(
        ("queries", "ids"),
        [
            ([], "1234"),
            ([query("equal", "status", "a")], "1"),
            ([query("equal", "status", "a", "b")], "12"),
            ([query("notEqual", "status", "a")], "2"),
            ([query("greaterThan", "votes", 5)], "2"),
            ([query("equal", "status", "a"), query("equal", "votes", 5)], "1"),
            ([query("equal", "status", "a"), query("equal", "votes", 6)], ""),
            ([query("isNull", "votes")], "3"),
            ([query("select", "", "*"), query("equal", "status", "a")], "1234"),
            ([query("contains", "tags", "red")], "4"),
            ([json.dumps({"method": "or", "values": [ONE, FOUR]})], "14"),
        ],
    )
    async def test_only_matching_payloads_are_sent(
        self, shared: "RunningHub", queries: list[str], ids: str
    ) -> None:
        payloads: list[dict[str, Any]] = [
            {"$id": "1", "status": "a", "votes": 5},
            {"$id": "2", "status": "b", "votes": 6},
            {"$id": "3", "votes": None},
            {"$id": "4", "tags": ["red", "blue"]},
        ]

        async with shared.greeted() as client:
            await client.subscribe("rows", queries=queries)
            for payload in payloads:
                await shared.deliver(f"{POSTS}.{payload['$id']}.create", payload, roles=["any"])
            frames = await client.receive_waiting()

        assert "".join(frame["data"]["payload"]["$id"] for frame in frames) == ids


class TestConsole:
    async def test_tests_channel_has_a_periodic_event_for_guests(self, shared: "RunningHub") -> None:
        """3.6: the test suites of SDKs wait for it. Nobody else receives it, nor any other channel."""
        async with (
            shared.greeted(None, query="channels[]=tests") as guest,
            shared.greeted(None, query="channels[]=rows") as other,
            shared.greeted(None, query="channels[]=tests", jwt=shared.token("a", project="console")) as user,
        ):
            # Due every five seconds, which is too long for a test.
            shared.hub._publish_test_event()
            data = await guest.receive_event()
            await other.assert_silent()
            await user.assert_silent()

        assert list(data)[:4] == ["events", "channels", "timestamp", "payload"]
        assert data["events"] == ["test.event"]
        assert data["channels"] == ["tests"]
        assert data["payload"] == {"response": "WS:/v1/realtime:passed"}
        assert len(data["subscriptions"]) == 1


class TestForeignBytes:
    async def test_event_that_is_not_utf8_reaches_nobody(self, shared: "RunningHub") -> None:
        """A client that got it would have to fail its connection (RFC 6455 section 8.1)."""
        async with shared.greeted() as client:
            await client.subscribe("rows")
            bad = b'{"project":"p","roles":["any"],"data":{"events":["e"],"channels":["rows"],"payload":{"a":"\xff"}}}'
            await shared.hub.redis.publish(live_channel(shared.project), bad)
            await shared.deliver("databases.d.tables.t.rows.1.create", {"good": True}, roles=["any"])
            assert (await client.receive_event())["payload"] == {"good": True}
