"""``since``: what was missed is replayed from the log, then it goes on live (wire specification 16.4)."""

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio

from realtime.bus.bus import LogPage
from realtime.bus.keys import log_key
from realtime.hub import replay

if TYPE_CHECKING:
    from tests.realtime.hub.conftest import Client, RunningHub, Start

ROWS = "databases.d.tables.t.rows"
EVENT = f"{ROWS}.1.update"
START = "0-0"


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [event["payload"]["n"] for event in events]


async def publish(
    hub: "RunningHub", count: int, *, begin: int = 0, roles: tuple[str, ...] = ("any",)
) -> list[str]:
    """Publish numbered events and return their IDs."""
    return [(await hub.publish(EVENT, {"n": begin + n}, roles=roles)).id for n in range(count)]


async def receive(client: "Client", count: int) -> list[dict[str, Any]]:
    return [await client.receive_event() for _ in range(count)]


def verdict(response: dict[str, Any]) -> object:
    (item,) = response["subscriptions"]
    return item["recovered"]


@pytest.mark.asyncio(loop_scope="module")
class TestReplay:
    async def test_events_after_the_position_come_in_order_after_the_response(
        self, shared: "RunningHub"
    ) -> None:
        ids = await publish(shared, 5)
        async with shared.greeted() as client:
            assert verdict(await client.subscribe(ROWS, since=ids[1])) is True
            events = await receive(client, 3)
            await client.assert_silent()
        assert [event["id"] for event in events] == ids[2:]
        assert all(event["subscriptions"] == ["s"] for event in events)

    async def test_replayed_frames_equal_the_live_ones(self, shared: "RunningHub") -> None:
        async with shared.greeted() as live, shared.greeted() as late:
            await live.subscribe(ROWS)
            await publish(shared, 2)
            seen = await receive(live, 2)
            await late.subscribe(ROWS, since=START)
            assert await receive(late, 2) == seen

    async def test_live_events_follow_the_replayed_ones(self, shared: "RunningHub") -> None:
        await publish(shared, 3)
        async with shared.greeted() as client:
            await client.subscribe(ROWS, since=START)
            await publish(shared, 3, begin=3)
            assert numbers(await receive(client, 6)) == [0, 1, 2, 3, 4, 5]

    async def test_events_published_during_the_replay_come_once_and_in_order(
        self, shared: "RunningHub"
    ) -> None:
        total = 600
        await publish(shared, total // 2)
        async with shared.greeted() as client:
            publishing = asyncio.create_task(publish(shared, total // 2, begin=total // 2))
            await client.subscribe(ROWS, since=START)
            events = await receive(client, total)
            await publishing
            await client.assert_silent()
        assert numbers(events) == list(range(total))

    async def test_position_at_the_end_replays_nothing(self, shared: "RunningHub") -> None:
        ids = await publish(shared, 2)
        async with shared.greeted() as client:
            assert verdict(await client.subscribe(ROWS, since=ids[-1])) is True
            await client.assert_silent()

    async def test_position_of_connected_can_be_gone_on_from(self, shared: "RunningHub") -> None:
        await publish(shared, 1)
        async with shared.connect() as client:
            position = (await client.receive())["data"]["position"]
        await publish(shared, 2, begin=1)
        async with shared.greeted() as client:
            assert verdict(await client.subscribe(ROWS, since=position)) is True
            assert numbers(await receive(client, 2)) == [1, 2]

    async def test_other_channels_are_not_replayed(self, shared: "RunningHub") -> None:
        await publish(shared, 1)
        await shared.publish("databases.other.tables.t.rows.1.update", {"n": 1}, roles=["any"])
        await publish(shared, 1, begin=2)
        async with shared.greeted() as client:
            await client.subscribe(ROWS, since=START)
            assert numbers(await receive(client, 2)) == [0, 2]
            await client.assert_silent()

    async def test_queries_select_what_is_replayed(self, shared: "RunningHub") -> None:
        await publish(shared, 4)
        async with shared.greeted() as client:
            query = '{"method":"greaterThan","attribute":"n","values":[1]}'
            await client.subscribe(ROWS, since=START, queries=[query])
            assert numbers(await receive(client, 2)) == [2, 3]
            await client.assert_silent()

    async def test_wildcard_channels_are_replayed(self, shared: "RunningHub") -> None:
        await publish(shared, 2)
        async with shared.greeted() as client:
            await client.subscribe("databases.*.tables.t.rows", since=START)
            assert numbers(await receive(client, 2)) == [0, 1]

    async def test_only_what_the_connection_may_read_now_is_replayed(self, shared: "RunningHub") -> None:
        await publish(shared, 1)
        await publish(shared, 1, begin=1, roles=("user:ann",))
        await publish(shared, 1, begin=2, roles=("user:bob",))
        token = shared.token(sub="ann")
        async with shared.greeted(jwt=token) as ann, shared.greeted() as guest:
            await ann.subscribe(ROWS, since=START)
            await guest.subscribe(ROWS, since=START)
            assert numbers(await receive(ann, 2)) == [0, 1]
            assert numbers(await receive(guest, 1)) == [0]
            await ann.assert_silent()
            await guest.assert_silent()

    async def test_subscriptions_of_a_message_go_on_from_their_own_positions(
        self, shared: "RunningHub"
    ) -> None:
        ids = await publish(shared, 3)
        async with shared.greeted() as client:
            items = [
                {"subscriptionId": "a", "channels": [ROWS], "since": ids[0]},
                {"subscriptionId": "b", "channels": [ROWS], "since": ids[1]},
                {"subscriptionId": "c", "channels": [ROWS]},
            ]
            response = await client.ask("subscribe", items)
            events = await receive(client, 2)
            await client.assert_silent()
        assert [item.get("recovered") for item in response["data"]["subscriptions"]] == [True, True, None]
        assert [event["subscriptions"] for event in events] == [["a"], ["a", "b"]]

    async def test_subscription_that_lives_goes_back(self, shared: "RunningHub") -> None:
        async with shared.greeted() as client:
            await client.subscribe(ROWS)
            await publish(shared, 2)
            assert numbers(await receive(client, 2)) == [0, 1]
            await client.subscribe("files", since=START)
            assert numbers(await receive(client, 2)) == [0, 1]
            await publish(shared, 1, begin=2)
            assert numbers(await receive(client, 1)) == [2]

    async def test_messages_behind_are_answered_after_the_replay(self, shared: "RunningHub") -> None:
        await publish(shared, 250)
        async with shared.greeted() as client:
            await client.send({"type": "subscribe", "data": [{"channels": [ROWS], "since": START}]})
            await client.send({"type": "unsubscribe", "data": [{"subscriptionId": "none"}]})
            frames = [await client.receive() for _ in range(252)]
        assert [frame["type"] for frame in frames] == ["response", *["event"] * 250, "response"]
        assert frames[-1]["data"]["to"] == "unsubscribe"


class TestServerBehind:
    """The log is read at another connection than that of live events, for a moment perhaps at a replaced server."""

    async def test_what_a_log_lacks_that_the_hub_has_had_is_waited_for(
        self, hub: "RunningHub", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with hub.greeted() as other:
            await other.subscribe(ROWS)
            ids = await publish(hub, 3)
            assert numbers(await receive(other, 3)) == [0, 1, 2]
            read_page, reads = hub.hub.bus.read_page, 0

            async def read_behind(project: str, after: str, *, limit: int = 1000) -> LogPage:
                nonlocal reads
                reads += 1
                page = await read_page(project, after, limit=limit)
                return page if reads > 4 else page._replace(events=[e for e in page.events if e[0] != ids[2]])

            monkeypatch.setattr(hub.hub.bus, "read_page", read_behind)
            async with hub.greeted() as client:
                await client.subscribe(ROWS, since=ids[0])
                assert numbers(await receive(client, 2)) == [1, 2]
                await publish(hub, 1, begin=3)
                assert numbers(await receive(client, 1)) == [3]
            assert reads > 4

    async def test_log_that_has_lost_its_end_is_not_waited_for_for_ever(
        self, hub: "RunningHub", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(replay, "_BEHIND_S", 0.2)
        async with hub.greeted() as other, hub.greeted() as client:
            await other.subscribe(ROWS)
            ids = await publish(hub, 3)
            await receive(other, 3)
            await hub.hub.bus.redis.xdel(log_key("demo"), ids[2])
            await client.subscribe(ROWS, since=ids[0])
            assert numbers(await receive(client, 1)) == [1]
            await publish(hub, 1, begin=3)
            assert numbers(await receive(client, 1)) == [3]


class TestBeyondTheLog:
    async def test_position_that_was_trimmed_is_not_recovered(
        self, hub: "RunningHub", redis_client: redis.asyncio.Redis
    ) -> None:
        ids = await publish(hub, 3)
        await redis_client.xtrim(log_key("demo"), minid=ids[2], approximate=False)
        async with hub.greeted() as client:
            assert verdict(await client.subscribe(ROWS, since=ids[0])) is False
            await client.assert_silent()
            await publish(hub, 1, begin=3)
            assert numbers(await receive(client, 1)) == [3]

    async def test_beginning_of_a_trimmed_log_is_not_recovered(
        self, hub: "RunningHub", redis_client: redis.asyncio.Redis
    ) -> None:
        ids = await publish(hub, 3)
        await redis_client.xtrim(log_key("demo"), minid=ids[2], approximate=False)
        async with hub.greeted() as client:
            assert verdict(await client.subscribe(ROWS, since=START)) is False

    async def test_position_that_never_was_is_not_recovered(self, hub: "RunningHub") -> None:
        await publish(hub, 1)
        async with hub.greeted() as client:
            assert verdict(await client.subscribe(ROWS, since="9999999999999-0")) is False
            await publish(hub, 1, begin=1)
            assert numbers(await receive(client, 1)) == [1]

    async def test_position_that_is_none_is_refused(self, hub: "RunningHub") -> None:
        async with hub.greeted() as client:
            frame = await client.ask("subscribe", [{"channels": [ROWS], "since": "yesterday"}])
            assert frame["data"]["code"] == 1003

    async def test_switched_off_nothing_is_recovered(self, start_hub: "Start") -> None:
        async with start_hub(resume="off") as hub, hub.greeted() as client:
            await publish(hub, 1)
            assert verdict(await client.subscribe(ROWS, since=START)) is False
            await client.assert_silent()


class TestTwoHubs:
    async def test_what_another_hub_sent_is_not_sent_again(
        self, hub: "RunningHub", start_hub: "Start"
    ) -> None:
        """A hub that is behind waits until it has dealt with what its client has seen elsewhere."""
        async with start_hub() as other, other.greeted() as client:
            room = other.hub.registry.rooms["demo"]
            receive_later: list[tuple[str, bytes]] = []
            through = other.hub._fanout.receive

            def hold(project_id: str, message: bytes) -> None:
                receive_later.append((project_id, message))

            other.hub._fanout.receive = hold  # type: ignore[method-assign]
            ids = await publish(hub, 3)
            await client.send({"type": "subscribe", "data": [{"channels": [ROWS], "since": ids[1]}]})
            await hub.until(lambda: bool(room.waiting) and len(receive_later) == 3)
            other.hub._fanout.receive = through  # type: ignore[method-assign]
            for project, message in receive_later:
                through(project, message)
            assert (await client.receive())["data"]["subscriptions"][0]["recovered"] is True
            assert numbers(await receive(client, 1)) == [2]
            await client.assert_silent()
