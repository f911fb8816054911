"""What a reader gets of the events it missed, and how it is told of those it does not get."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

from realtime.client import Gap, GapReason, RealtimeClient, Subscription
from realtime.client.connection import Timeouts
from tests.realtime.client.peer import Hub, Peer, be_patient, collect, next_event, opened, until


class TestSince:
    """Starting from a position that the user stored."""

    async def test_events_after_the_position_come_first(self, hub: Hub) -> None:
        async with opened(hub, position="9-0") as (client, peer), asyncio.TaskGroup() as tasks:
            confirming = tasks.create_task(peer.subscribed("9-0", recovered=True))
            events = await client.subscribe("a", since="5-0").__aenter__()
            assert (await confirming)[0]["since"] == "5-0"
            assert (events.recovered, events.since) == (True, "5-0")
            for position in ("5-0", "6-0", "10-0"):
                await peer.event(position, events.id)
            assert [(await next_event(events)).id for _ in range(2)] == ["6-0", "10-0"]

    async def test_position_that_the_log_no_longer_has_is_a_gap(self, hub: Hub) -> None:
        story: list[object] = []
        async with opened(hub, position="9-0") as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed("9-0", recovered=False))
            events = await client.subscribe("a", since="5-0", on_gap=story.append).__aenter__()
            assert (events.recovered, events.since) == (False, "9-0")
            await peer.event("10-0", events.id)
            story.append((await next_event(events)).id)
        assert story == [Gap(GapReason.EXPIRED), "10-0"]

    async def test_subscribe_interrupted_by_the_loss_asks_again_from_there(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer):
            entering = asyncio.create_task(client.subscribe("a", since="5-0").__aenter__())
            await peer.message("subscribe")
            peer.websocket.transport.abort()
            again = await hub.accept()
            await again.connected("9-0")
            (item,) = await again.subscribed("9-0", recovered=True)
            assert item["since"] == "5-0"
            assert (await entering).recovered is True

    @pytest.mark.parametrize("since", ["yesterday", "5", "5-", "-1-0", f"{2**64}-0"])
    async def test_what_is_no_position_is_refused_at_the_call(self, since: str) -> None:
        with pytest.raises(ValueError, match="position"):
            RealtimeClient("http://localhost/v1", "demo").subscribe("a", since=since)


@contextlib.asynccontextmanager
async def catching_up(
    hub: Hub, *, to: str, queue_size: int = 3, timeouts: Timeouts | None = None
) -> AsyncIterator[tuple[RealtimeClient, Peer, Subscription, list[Gap]]]:
    """Yield a client, its connection, and a subscription that is being sent what it missed, with its gaps."""
    gaps: list[Gap] = []
    async with (
        opened(hub, queue_size=queue_size, timeouts=timeouts) as (client, peer),
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(peer.subscribed(to, recovered=True))
        events = await client.subscribe("a", since="0-1", on_gap=gaps.append).__aenter__()
        yield client, peer, events, gaps


class TestCatchUp:
    """A replay may be larger than the queue, and comes faster than anybody reads."""

    async def test_replay_larger_than_the_queue_loses_nothing(self, hub: Hub) -> None:
        async with (
            catching_up(hub, to="150-0") as (_, peer, events, gaps),
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(send_many(peer, events.id, 200))
            received: list[str] = []
            while len(received) < 200:
                received.append((await next_event(events)).id)
                await asyncio.sleep(0)
            assert received == [f"{n}-0" for n in range(1, 201)]
            assert gaps == []

    async def test_queue_stays_bounded_while_the_hub_waits(self, hub: Hub) -> None:
        timeouts = Timeouts(close_s=0.05, stall_s=60)
        async with catching_up(hub, to="100-0", timeouts=timeouts) as (client, peer, events, _):
            await send_many(peer, events.id, 50)
            await until(lambda: events.is_full)
            assert client.position == "3-0"

    async def test_reader_that_takes_nothing_is_a_slow_one(self, hub: Hub) -> None:
        timeouts = Timeouts(stall_s=0.05)
        async with catching_up(hub, to="10-0", timeouts=timeouts) as (client, peer, events, gaps):
            await send_many(peer, events.id, 10)
            await until(lambda: client.position == "10-0")
            assert (await next_event(events)).id == "8-0"
            assert gaps == [Gap(GapReason.SLOW_READER, dropped=7)]

    async def test_reader_that_goes_on_is_waited_for_again(self, hub: Hub) -> None:
        timeouts = Timeouts(stall_s=0.05)
        async with catching_up(hub, to="100-0", timeouts=timeouts) as (client, peer, events, gaps):
            await send_many(peer, events.id, 10)
            await until(lambda: client.position == "10-0")
            be_patient(client)
            await next_event(events)
            for n in range(11, 14):
                await peer.event(f"{n}-0", events.id)
            await until(lambda: events.is_full)
            received = [(await next_event(events)).id for _ in range(5)]
            assert received == ["9-0", "10-0", "11-0", "12-0", "13-0"]
            assert gaps == [Gap(GapReason.SLOW_READER, dropped=7)]

    async def test_queue_that_is_full_when_the_connection_is_lost_loses_nothing(self, hub: Hub) -> None:
        timeouts = Timeouts(close_s=0.05)
        async with catching_up(hub, to="100-0", timeouts=timeouts) as (_, peer, events, gaps):
            await send_many(peer, events.id, 3)
            await until(lambda: events.is_full)
            peer.websocket.transport.abort()
            reading = asyncio.create_task(collect(events, 1))
            again = await hub.accept()
            await again.connected("100-0")
            (item,) = await again.subscribed("100-0", recovered=True)
            for n in range(int(str(item["since"]).partition("-")[0]) + 1, 10):
                await again.event(f"{n}-0", events.id)
            received = [*await reading, *await collect(events, 8)]
            assert [event.id for event in received] == [f"{n}-0" for n in range(1, 10)]
            assert gaps == []

    async def test_reader_that_has_caught_up_holds_nobody_back_any_more(self, hub: Hub) -> None:
        async with catching_up(hub, to="2-0") as (client, peer, events, _):
            await send_many(peer, events.id, 2)
            for _ in range(2):
                await next_event(events)
            waiting = asyncio.create_task(anext(events))
            await asyncio.sleep(0)
            for n in range(3, 10):
                await peer.event(f"{n}-0", events.id)
            await until(lambda: client.position == "9-0")
            await waiting

    async def test_leaving_the_block_lets_the_others_go_on(self, hub: Hub) -> None:
        async with opened(hub, queue_size=1) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed("5-0"))
            other = await client.subscribe("b").__aenter__()
            tasks.create_task(peer.subscribed("5-0", recovered=True))
            events = await client.subscribe("a", since="0-1").__aenter__()
            await send_many(peer, events.id, 5)
            await peer.event("6-0", other.id)
            await until(lambda: events.is_full)
            tasks.create_task(peer.unsubscribed())
            await events.__aexit__(None, None, None)
            assert (await next_event(other)).id == "6-0"

    async def test_answer_that_waits_behind_a_slow_reader_is_waited_for(self, hub: Hub) -> None:
        timeouts = Timeouts(response_s=0.1, stall_s=60)
        async with (
            catching_up(hub, to="5-0", queue_size=1, timeouts=timeouts) as (client, peer, events, _),
            asyncio.TaskGroup() as tasks,
        ):
            await send_many(peer, events.id, 2)
            await until(lambda: events.is_full)
            tasks.create_task(peer.subscribed("5-0"))
            entering = asyncio.create_task(client.subscribe("b").__aenter__())
            # Several times as long as it waits for a hub that says nothing.
            assert (await asyncio.wait([entering], timeout=0.3))[1] == {entering}
            for _ in range(2):
                await next_event(events)
            await entering
        assert hub.connections == 1


async def send_many(peer: Peer, subscription_id: str, count: int) -> None:
    for n in range(1, count + 1):
        await peer.event(f"{n}-0", subscription_id)


class TestGaps:
    async def test_slow_reader_loses_the_oldest_and_is_told_how_many(self, hub: Hub) -> None:
        gaps: list[Gap] = []
        async with opened(hub, queue_size=3) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed())
            events = await client.subscribe("a", on_gap=gaps.append).__aenter__()
            for n in range(10):
                await peer.event(f"{n}-0", events.id)
            await until(lambda: client.position == "9-0")
            assert [(await next_event(events)).id for _ in range(3)] == ["7-0", "8-0", "9-0"]
            assert gaps == [Gap(GapReason.SLOW_READER, dropped=7)]

    async def test_gap_that_the_hub_tells_of_keeps_its_place(self, hub: Hub) -> None:
        story: list[object] = []
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed())
            events = await client.subscribe("a", on_gap=story.append).__aenter__()
            await peer.event("1-0", events.id)
            await peer.send("system", {"code": "gap", "message": "events may be missing"})
            await peer.event("2-0", events.id)
            await until(lambda: client.position == "2-0")
            story.append((await next_event(events)).id)
            story.append((await next_event(events)).id)
        assert story == ["1-0", Gap(GapReason.HUB), "2-0"]

    async def test_log_that_began_anew_is_followed(self, hub: Hub) -> None:
        """Its first positions may be older than those of the lost one."""
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed("90-0"))
            events = await client.subscribe("a").__aenter__()
            await peer.event("91-0", events.id)
            await peer.send("system", {"code": "gap", "message": "events may be missing"})
            for position in ("1-0", "1-0", "2-0"):
                await peer.event(position, events.id)
            assert [(await next_event(events)).id for _ in range(3)] == ["91-0", "1-0", "2-0"]
            assert events.position == "2-0"

    async def test_system_frames_of_other_codes_are_no_gap(
        self, hub: Hub, caplog: pytest.LogCaptureFixture
    ) -> None:
        gaps: list[Gap] = []
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed("5-0"))
            events = await client.subscribe("a", on_gap=gaps.append).__aenter__()
            await peer.send("system", {"code": "signed_out", "message": "Your session ended."})
            await peer.send("system", {"code": "novelty", "more": [1]})
            await peer.event("6-0", events.id)
            assert (await next_event(events)).id == "6-0"
        assert gaps == []
        assert "not understood" not in caplog.text

    async def test_hook_that_raises_leaves_the_loop(self, hub: Hub) -> None:
        def stop(gap: Gap) -> None:
            raise LookupError(gap.reason.value)

        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed())
            events = await client.subscribe("a", on_gap=stop).__aenter__()
            await peer.send("system", {"code": "gap", "message": ""})
            with pytest.raises(LookupError, match="hub"):
                await next_event(events)

    async def test_gap_without_a_hook_is_logged(self, hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed())
            events = await client.subscribe("a").__aenter__()
            await peer.send("system", {"code": "gap", "message": ""})
            await peer.event("1-0", events.id)
            with caplog.at_level(logging.WARNING, "realtime.client"):
                await next_event(events)
        assert "events may be missing on a" in caplog.text
