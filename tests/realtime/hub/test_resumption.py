"""Subscriptions return under the ID that their client made (wire specification 16.5)."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import pytest
import redis.asyncio

from realtime.bus.keys import log_key, resume_floor_key, resume_key
from realtime.bus.resumption import Holder, ResumeRecords
from realtime.hub import resumption
from realtime.hub.connection import Connection
from realtime.hub.resumption import Resumption
from realtime.hub.room import Room
from realtime.identity.model import GUEST, Project

if TYPE_CHECKING:
    from tests.realtime.hub.conftest import Client, RunningHub, Start

ROWS = "databases.d.tables.t.rows"
EVENT = f"{ROWS}.1.update"
ID = "3f5b9c0d7a1e4f2b8c6d"
GUEST_OWNER = resumption._owner(GUEST)
OTHER_ID = "a81d5c0d7a1e4f2b8c6d"


def numbers(events: list[dict[str, Any]]) -> list[int]:
    return [event["payload"]["n"] for event in events]


async def publish(hub: "RunningHub", *values: int, roles: tuple[str, ...] = ("any",)) -> None:
    """Publish numbered events; those who are to receive them have been sent them."""
    for n in values:
        published = await hub.publish(EVENT, {"n": n}, roles=roles)
    room = hub.hub.registry.rooms.get("demo")
    if room is not None:
        await room.reached(published.id)


async def receive(client: "Client", count: int) -> list[dict[str, Any]]:
    return [await client.receive_event() for _ in range(count)]


async def settled(hub: "RunningHub") -> None:
    """Wait until everything that was sent is confirmed, and Redis knows it."""
    room = hub.hub.registry.rooms["demo"]
    assert room.confirmations is not None
    confirmations = room.confirmations
    await hub.until(lambda: confirmations.all_settled and not hub.hub.resumption._unsettled)
    await hub.hub.records.flush(5)


async def left(hub: "RunningHub") -> None:
    """Wait until a hub has noticed that its clients are gone, and Redis knows it."""
    await hub.until(lambda: hub.hub.registry.connection_count == 0)
    await hub.hub.records.flush(5)


def is_recovered(response: dict[str, Any]) -> object:
    (item,) = response["subscriptions"]
    return item.get("recovered")


class TestReturn:
    async def test_what_came_between_is_replayed(self, hub: "RunningHub") -> None:
        async with hub.greeted() as client:
            assert is_recovered(await client.subscribe(ROWS, id=ID)) is None
            await publish(hub, 0, 1)
            await receive(client, 2)
            await settled(hub)
        await left(hub)
        await publish(hub, 2, 3)
        async with hub.greeted() as client:
            assert is_recovered(await client.subscribe(ROWS, id=ID)) is True
            await publish(hub, 4)
            assert numbers(await receive(client, 3)) == [2, 3, 4]
            await client.assert_silent()

    async def test_nothing_is_repeated_to_a_client_that_confirmed_everything(self, hub: "RunningHub") -> None:
        for _ in range(3):
            async with hub.greeted() as client:
                await client.subscribe(ROWS, id=ID)
                await client.assert_silent()
                await publish(hub, 0)
                await receive(client, 1)
                await settled(hub)
            await left(hub)

    async def test_what_was_not_confirmed_is_repeated(self, hub: "RunningHub") -> None:
        async with hub.greeted() as client:
            await client.subscribe(ROWS, id=ID)
            client.socket.transport.pause_reading()
            await publish(hub, 0, 1)
            client.socket.transport.abort()
        await left(hub)
        async with hub.greeted() as client:
            await client.subscribe(ROWS, id=ID)
            assert numbers(await receive(client, 2)) == [0, 1]

    async def test_returns_to_another_hub(self, hub: "RunningHub", start_hub: "Start") -> None:
        async with start_hub() as other:
            async with hub.greeted() as client:
                await client.subscribe(ROWS, id=ID)
                await publish(hub, 0)
                await receive(client, 1)
                await settled(hub)
            await left(hub)
            await publish(hub, 1)
            async with other.greeted() as client:
                await client.subscribe(ROWS, id=ID)
                assert numbers(await receive(client, 1)) == [1]

    async def test_returns_while_the_lost_connection_is_still_open(
        self, hub: "RunningHub", start_hub: "Start"
    ) -> None:
        async with start_hub() as other, hub.greeted() as lost:
            await lost.subscribe(ROWS, id=ID)
            await publish(hub, 0)
            await receive(lost, 1)
            await settled(hub)
            lost.socket.transport.pause_reading()
            await publish(hub, 1)
            async with other.greeted() as client:
                await client.subscribe(ROWS, id=ID)
                assert numbers(await receive(client, 1)) == [1]
                await settled(other)
                lost.socket.transport.abort()
                await left(hub)
            await left(other)
            # What the first hub wrote at last has not undone what the second one knew.
            async with hub.greeted() as client:
                await client.subscribe(ROWS, id=ID)
                await client.assert_silent()

    async def test_connection_that_did_not_see_the_replay_gets_it_again(self, hub: "RunningHub") -> None:
        async with hub.greeted() as client:
            await client.subscribe(ROWS, id=ID)
        await left(hub)
        await publish(hub, 0, 1)
        async with hub.greeted() as client:
            client.socket.transport.pause_reading()
            item = {"subscriptionId": ID, "channels": [ROWS]}
            await client.send({"type": "subscribe", "data": [item]})
            await hub.until(lambda: hub.hub.registry.subscription_count == 1)
            client.socket.transport.abort()
        await left(hub)
        async with hub.greeted() as client:
            await client.subscribe(ROWS, id=ID)
            assert numbers(await receive(client, 2)) == [0, 1]

    async def test_permissions_of_the_return_decide(self, hub: "RunningHub") -> None:
        session = await hub.add_user("ann", labels=("vip",))
        async with hub.greeted(headers={"x-appwrite-session": session}) as client:
            await client.subscribe(ROWS, id=ID)
        await left(hub)
        await publish(hub, 0, roles=("label:vip",))
        await publish(hub, 1, roles=("user:ann",))
        session = await hub.add_user("ann")
        async with hub.greeted(headers={"x-appwrite-session": session}) as client:
            await client.subscribe(ROWS, id=ID)
            assert numbers(await receive(client, 1)) == [1]
            await client.assert_silent()

    async def test_subscription_of_somebody_else_does_not_return(self, hub: "RunningHub") -> None:
        async with hub.greeted(jwt=hub.token(sub="ann")) as client:
            await client.subscribe(ROWS, id=ID)
        await left(hub)
        await publish(hub, 0)
        async with hub.greeted(jwt=hub.token(sub="bob")) as client:
            assert is_recovered(await client.subscribe(ROWS, id=ID)) is None
            await client.assert_silent()

    async def test_returns_to_whom_the_connection_became(self, hub: "RunningHub") -> None:
        session = await hub.add_user("ann")
        async with hub.greeted() as client:
            await client.subscribe(ROWS, id=ID)
            await client.ask("authentication", {"session": session})
        await left(hub)
        await publish(hub, 0, roles=("user:ann",))
        async with hub.greeted() as client:
            await client.ask("authentication", {"session": session})
            await client.subscribe(ROWS, id=ID)
            assert numbers(await receive(client, 1)) == [0]

    async def test_id_that_may_not_be_unique_does_not_return(self, hub: "RunningHub") -> None:
        async with hub.greeted() as client:
            await client.subscribe(ROWS, id="feed")
        await left(hub)
        await publish(hub, 0)
        async with hub.greeted() as client:
            assert is_recovered(await client.subscribe(ROWS, id="feed")) is None
            await client.assert_silent()

    async def test_subscription_that_was_ended_does_not_return(
        self, hub: "RunningHub", redis_client: redis.asyncio.Redis
    ) -> None:
        async with hub.greeted() as client:
            await client.subscribe(ROWS, id=ID)
            await client.ask("unsubscribe", [{"subscriptionId": ID}])
        await left(hub)
        assert not await redis_client.exists(resume_key("demo", GUEST_OWNER, ID))
        await publish(hub, 0)
        async with hub.greeted() as client:
            await client.subscribe(ROWS, id=ID)
            await client.assert_silent()

    async def test_client_that_says_from_where_may_leave_it_to_the_hub_the_next_time(
        self, hub: "RunningHub"
    ) -> None:
        await publish(hub, 0)
        async with hub.greeted() as client:
            assert is_recovered(await client.subscribe(ROWS, id=ID, since="0-0")) is True
            await receive(client, 1)
            await settled(hub)
        await left(hub)
        await publish(hub, 1)
        async with hub.greeted() as client:
            assert is_recovered(await client.subscribe(ROWS, id=ID)) is True
            assert numbers(await receive(client, 1)) == [1]
            await client.assert_silent()

    async def test_nobody_takes_a_subscription_from_somebody_else(self, hub: "RunningHub") -> None:
        async with hub.greeted(jwt=hub.token(sub="ann")) as client:
            await client.subscribe(ROWS, id=ID)
        await left(hub)
        await publish(hub, 0)
        async with hub.greeted(jwt=hub.token(sub="mallory")) as mallory:
            await mallory.subscribe(ROWS, id=ID)
            await mallory.assert_silent()
        await left(hub)
        async with hub.greeted(jwt=hub.token(sub="ann")) as client:
            await client.subscribe(ROWS, id=ID)
            assert numbers(await receive(client, 1)) == [0]

    async def test_one_that_came_too_late_returns_the_next_time(
        self, hub: "RunningHub", redis_client: redis.asyncio.Redis
    ) -> None:
        async with hub.greeted() as client:
            await client.subscribe(ROWS, id=ID)
            await publish(hub, 0)
            await receive(client, 1)
            await settled(hub)
        await left(hub)
        await publish(hub, 1, 2, 3)
        await redis_client.xtrim(log_key("demo"), maxlen=1, approximate=False)
        for n in (4, 6):
            async with hub.greeted() as client:
                verdict = is_recovered(await client.subscribe(ROWS, id=ID))
                assert verdict is (n == 6)
                assert numbers(await receive(client, int(n == 6))) == [5] * (n == 6)
                await publish(hub, n)
                await receive(client, 1)
                await settled(hub)
            await left(hub)
            await publish(hub, n + 1)

    async def test_explicit_mode_waits_to_be_asked(self, start_hub: "Start") -> None:
        async with start_hub(resume="explicit") as hub:
            async with hub.greeted() as client:
                await client.subscribe(ROWS, id=ID)
            await hub.until(lambda: hub.hub.registry.connection_count == 0)
            await publish(hub, 0)
            async with hub.greeted() as client:
                assert is_recovered(await client.subscribe(ROWS, id=ID)) is None
                await client.assert_silent()
                assert is_recovered(await client.subscribe(ROWS, id=OTHER_ID, since="0-0")) is True
                assert numbers(await receive(client, 1)) == [0]


class TestDrain:
    async def test_nothing_is_missed_or_repeated_across_a_restart(self, start_hub: "Start") -> None:
        """Events go on while the client of the first hub is sent away."""
        async with start_hub() as second:
            async with start_hub(drain_window_s=0.2) as first, first.greeted() as client:
                await client.subscribe(ROWS, id=ID)
                reading = asyncio.create_task(read_until_closed(client))
                sent = 0
                while not reading.done():
                    await publish(second, sent)
                    sent += 1
                    if sent == 20:
                        first.server.should_exit = True
                before = await reading
                assert client.socket.close_code == 1001
            async with second.greeted() as client:
                await client.subscribe(ROWS, id=ID)
                after = numbers(await receive(client, sent - len(before)))
                await client.assert_silent()
        assert before + after == list(range(sent))


async def read_until_closed(client: "Client") -> list[int]:
    """Return the numbers of the events that still arrive."""
    frames = [json.loads(frame) async for frame in client.socket]
    return [frame["data"]["payload"]["n"] for frame in frames if frame["type"] == "event"]


async def record_of(redis_client: redis.asyncio.Redis) -> list[str]:
    """Return what the record of the subscription says of where it goes on: a mode and a position."""
    record = await redis_client.get(resume_key("demo", GUEST_OWNER, ID))
    assert isinstance(record, bytes)
    return record.decode().split()[1:]


class TestLate:
    async def test_client_that_does_not_answer_holds_nobody_back(
        self, hub: "RunningHub", redis_client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(resumption, "_PATIENCE_S", 0)
        records = hub.hub.records
        floor_key = resume_floor_key("demo", records._hub_id)

        async def is_floor(position: str) -> bool:
            await records.flush(5)
            return await redis_client.get(floor_key) == position.encode()

        async with hub.greeted() as late, hub.greeted() as prompt:
            await late.subscribe(ROWS, id=ID)
            await prompt.subscribe(ROWS, id=OTHER_ID)
            began = hub.hub.registry.rooms["demo"].position
            late.socket.transport.pause_reading()
            await publish(hub, 0, 1)
            await receive(prompt, 2)
            position = hub.hub.registry.rooms["demo"].position
            async with asyncio.timeout(10):
                while not await is_floor(position):  # noqa: ASYNC110 - Redis has no event for it
                    await asyncio.sleep(0.01)
            assert await record_of(redis_client) == ["at", began]

            # It answers after all, and counts as the others do from then on.
            late.socket.transport.resume_reading()
            await receive(late, 2)
            await hub.until(lambda: not hub.hub.resumption._held)
            await records.flush(5)
            assert await record_of(redis_client) == ["from", position]


class RecordingWire:
    """Remembers the payloads of the pings that were sent."""

    buffered_bytes = 0

    def __init__(self) -> None:
        self.pings: list[bytes] = []

    @property
    def write(self) -> Callable[[bytes], None]:
        return self.send

    def send(self, frame: bytes) -> None:
        if frame[0] == 0x89:
            self.pings.append(frame[2:])

    def close(self, code: int, reason: str = "") -> None: ...

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class FakeRecords:
    """Remembers the last record of each subscription, as ``resume.lua`` would write it."""

    def __init__(self, *returning: str) -> None:
        self.returning = returning
        self.written: dict[str, str] = {}
        self.floor = ""

    async def claim(
        self,
        project: str,
        ids: Sequence[str],
        holder: Holder,
        position: str,
        is_wanted: Callable[[], bool],
    ) -> list[str | None]:
        return [*self.returning, *[None] * len(ids)][: len(ids)]

    def hold(self, project: str, ids: Sequence[str], holder: Holder, position: str) -> None:
        self.written |= dict.fromkeys(ids, f"at {position}")

    def follow(self, project: str, ids: Sequence[str], holder: Holder, position: str) -> None:
        self.written |= dict.fromkeys(ids, f"from {position}")

    def set_floor(self, project: str, position: str) -> None:
        self.floor = position


class Bench:
    """One connection in one room, and the rounds in the test's hands."""

    def __init__(self, *returning: str) -> None:
        self.now = 100.0
        self.records = FakeRecords(*returning)
        self.resumption = Resumption(cast("ResumeRecords", self.records), loop_time=lambda: self.now)
        self.room = Room(Project("demo"))
        self.room.position = "1-0"
        self.wire = RecordingWire()
        self.connection = Connection(self.wire, "192.0.2.1")
        self.connection.room = self.room
        self.room.index.add(self.connection)

    async def subscribe(self) -> None:
        since = await self.resumption.claim(self.connection, self.room, [ID])
        subscription = self.room.index.subscribe(self.connection, ID, [ROWS], None)
        self.resumption.replaying(self.connection, self.room, since, since)
        self.resumption.registered(self.connection, self.room, subscription)

    def event(self, position: str) -> None:
        self.room.sent({self.connection: None})
        self.room.advance(position)

    def round(self) -> bytes:
        self.resumption._round()
        return self.wire.pings[-1]


@pytest.fixture
async def make_bench() -> AsyncIterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(*returning: str) -> Bench:
        made.append(Bench(*returning))
        return made[-1]

    yield make
    for bench in made:
        bench.resumption.stop()


class TestRecords:
    async def test_confirmed_replay_is_over_also_while_events_go_on(
        self, make_bench: Callable[..., Bench]
    ) -> None:
        bench = make_bench("0-5")
        await bench.subscribe()
        ping = bench.round()
        bench.event("2-0")
        bench.resumption.ponged(bench.connection, ping)
        assert bench.records.written == {ID: "from 1-0"}
        bench.resumption.leaving(bench.connection, bench.room)
        assert bench.records.written == {ID: "at 1-0"}

    async def test_answer_to_a_ping_before_the_replay_does_not_confirm_it(
        self, make_bench: Callable[..., Bench]
    ) -> None:
        bench = make_bench("0-5")
        await bench.resumption.claim(bench.connection, bench.room, [OTHER_ID])
        other = bench.room.index.subscribe(bench.connection, OTHER_ID, [ROWS], None)
        bench.resumption.registered(bench.connection, bench.room, other)
        bench.event("2-0")
        ping = bench.round()
        await bench.subscribe()
        bench.resumption.ponged(bench.connection, ping)
        bench.resumption.leaving(bench.connection, bench.room)
        assert bench.records.written[ID] == "at 0-5"

    async def test_late_one_that_answers_stays_apart_until_it_has_everything(
        self, make_bench: Callable[..., Bench]
    ) -> None:
        bench = make_bench()
        await bench.subscribe()
        bench.event("2-0")
        ping = bench.round()
        bench.now += 10
        bench.event("3-0")
        bench.round()
        assert bench.records.written == {ID: "at 1-0"}
        assert bench.records.floor == "3-0"
        bench.resumption.ponged(bench.connection, ping)
        assert bench.records.written == {ID: "at 2-0"}
        bench.resumption.ponged(bench.connection, bench.round())
        assert bench.records.written == {ID: "from 3-0"}
