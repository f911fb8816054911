"""How a client comes back after its connection was lost, and from where its subscriptions go on."""

import asyncio

import pytest

from realtime.client import Gap, GapReason, RefusedError
from realtime.client.connection import Timeouts
from realtime.client.schedule import Backoff
from tests.realtime.client.peer import Hub, be_patient, next_event, opened, until


class TestReconnect:
    async def test_subscriptions_come_back_with_their_ids_and_positions(self, hub: Hub) -> None:
        async with opened(hub, position="5-0") as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed())
            first = await client.subscribe("a").__aenter__()
            tasks.create_task(peer.subscribed())
            second = await client.subscribe("b", ["q"]).__aenter__()
            await peer.event("6-0", first.id)
            await next_event(first)
            peer.websocket.transport.abort()

            again = await hub.accept()
            await again.connected("9-0")
            items = await again.subscribed(recovered=True)
            assert items == [
                {"subscriptionId": first.id, "channels": ["a"], "queries": [], "since": "6-0"},
                {"subscriptionId": second.id, "channels": ["b"], "queries": ["q"], "since": "5-0"},
            ]
            await again.event("7-0", first.id)
            assert (await next_event(first)).id == "7-0"

    @pytest.mark.parametrize("answer", [{"recovered": False}, {}])
    async def test_unrecovered_subscription_is_told_of_the_gap(
        self, hub: Hub, answer: dict[str, bool]
    ) -> None:
        gaps: list[Gap] = []
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed())
            events = await client.subscribe("a", on_gap=gaps.append).__aenter__()
            peer.websocket.transport.abort()
            again = await hub.accept()
            await again.connected("9-0")
            await again.subscribed("9-0", **answer)
            await again.event("10-0", events.id)
            assert gaps == []
            await next_event(events)
            assert gaps == [Gap(GapReason.RECONNECTED)]

    async def test_subscription_without_events_goes_on_from_where_the_hub_registered_it(
        self, hub: Hub
    ) -> None:
        """Not from where the connection began, nor from where others are: both may be far away."""
        async with opened(hub, position="5-0") as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed("5-0"))
            busy = await client.subscribe("a").__aenter__()
            await peer.event("6-0", busy.id)
            tasks.create_task(peer.subscribed("8-0"))
            quiet = await client.subscribe("b").__aenter__()
            assert quiet.since == "8-0"
            await peer.event("9-0", busy.id)
            await until(lambda: busy.position == "9-0")
            peer.websocket.transport.abort()
            again = await hub.accept()
            await again.connected("20-0")
            items = await again.subscribed("20-0", recovered=True)
            assert [item["since"] for item in items] == ["9-0", "8-0"]

    async def test_answer_that_promises_a_replay_does_not_move_the_position(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed("5-0"))
            await client.subscribe("a").__aenter__()
            last = peer
            for _ in range(2):
                last.websocket.transport.abort()
                last = await hub.accept()
                await last.connected("20-0")
                (item,) = await last.subscribed("20-0", recovered=True)
                assert item["since"] == "5-0"

    async def test_answer_without_replay_moves_the_position(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed("5-0"))
            events = await client.subscribe("a").__aenter__()
            peer.websocket.transport.abort()
            again = await hub.accept()
            await again.connected("19-0")
            await again.subscribed("20-0", recovered=False)
            await until(lambda: events.position == "20-0")
            assert events.recovered is False

    async def test_replayed_and_live_events_arrive_each_once(self, hub: Hub) -> None:
        gaps: list[Gap] = []
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed("5-0"))
            events = await client.subscribe("a", on_gap=gaps.append).__aenter__()
            recovered = [events.recovered]
            for position in ("9-0", "10-0", "10-1"):
                await peer.event(position, events.id)
            await until(lambda: events.position == "10-1")
            await peer.websocket.close(1001)
            again = await hub.accept()
            await again.connected("12-0")
            await again.subscribed("12-0", recovered=True)
            # A hub that took over from a killed one may know an older position only.
            for position in ("9-0", "10-0", "10-1", "10-2", "11-0", "11-0", "13-0"):
                await again.event(position, events.id)
            received = [(await next_event(events)).id for _ in range(6)]
            assert received == ["9-0", "10-0", "10-1", "10-2", "11-0", "13-0"]
            assert [*recovered, events.recovered] == [None, True]
            assert gaps == []
            assert client.position == "13-0"

    async def test_replay_of_one_subscription_holds_back_no_event_of_another(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed("5-0"))
            live = await client.subscribe("a").__aenter__()
            tasks.create_task(peer.subscribed("7-0", recovered=True))
            replayed = await client.subscribe("b", since="1-0").__aenter__()
            await peer.event("8-0", live.id)
            await peer.event("2-0", replayed.id)
            await peer.event("9-0", replayed.id)
            await peer.event("8-1", live.id)
            assert [(await next_event(live)).id for _ in range(2)] == ["8-0", "8-1"]
            assert [(await next_event(replayed)).id for _ in range(2)] == ["2-0", "9-0"]
            assert client.position == "9-0"

    async def test_events_of_no_log_are_never_dropped(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed("5-0"))
            events = await client.subscribe("a").__aenter__()
            for n in range(2):
                await peer.event("", events.id, n=n)
            assert [(await next_event(events)).payload["n"] for _ in range(2)] == [0, 1]
            assert events.position == "5-0"

    async def test_subscription_closed_meanwhile_is_not_taken_up(
        self, hub: Hub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("realtime.client.client._BATCH_ITEMS", 1)
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            entered = []
            for channel in "abc":
                tasks.create_task(peer.subscribed("5-0"))
                entered.append(await client.subscribe(channel).__aenter__())
            peer.websocket.transport.abort()
            again = await hub.accept()
            await again.connected("5-0")
            (first,) = await again.message("subscribe")
            closing = tasks.create_task(entered[1].__aexit__(None, None, None))
            assert await again.message("unsubscribe") == [{"subscriptionId": entered[1].id}]
            answer = {"subscriptionId": first["subscriptionId"], "channels": ["a"], "recovered": True}
            await again.send("response", {"to": "subscribe", "success": True, "subscriptions": [answer]})
            await again.send("response", {"to": "unsubscribe", "success": True, "subscriptions": []})
            (next_item,) = await again.subscribed("5-0", recovered=True)
            assert next_item["subscriptionId"] == entered[2].id
            await closing

    async def test_subscribing_while_away_waits_for_the_next_connection(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer):
            peer.websocket.transport.abort()
            again = await hub.accept()
            entering = asyncio.create_task(client.subscribe("a").__aenter__())
            await until(lambda: len(client._subscriptions) == 1)
            await again.connected()
            (item,) = await again.subscribed()
            assert (await entering).id == item["subscriptionId"]
            assert "since" not in item

    async def test_subscribe_interrupted_by_the_loss_is_repeated(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer):
            entering = asyncio.create_task(client.subscribe("a").__aenter__())
            await peer.message("subscribe")
            peer.websocket.transport.abort()
            again = await hub.accept()
            await again.connected()
            (item,) = await again.subscribed()
            assert (await entering).id == item["subscriptionId"]

    async def test_hub_that_does_not_answer_is_left(self, hub: Hub) -> None:
        async with opened(hub, timeouts=Timeouts(response_s=0.05)) as (client, peer):
            be_patient(client)
            entering = asyncio.create_task(client.subscribe("a").__aenter__())
            await peer.message("subscribe")
            again = await hub.accept()
            await again.connected()
            await again.subscribed()
            await entering

    async def test_answer_behind_a_long_replay_is_waited_for(self, hub: Hub) -> None:
        async with (
            opened(hub, timeouts=Timeouts(response_s=1)) as (client, peer),
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(peer.subscribed("5-0", recovered=True))
            events = await client.subscribe("a", since="0-1").__aenter__()
            entering = asyncio.create_task(client.subscribe("b").__aenter__())
            # For longer than the client waits, but each of them long before it loses patience.
            for n in range(1, 14):
                await peer.event(f"{n}-0", events.id)
                assert (await asyncio.wait([entering], timeout=0.1))[1] == {entering}
            await peer.subscribed("5-0")
            await entering
        assert hub.connections == 1

    async def test_policy_violation_ends_every_iterator(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed())
            events = await client.subscribe("a").__aenter__()
            await peer.refuse(1008, "Missing project context. Reconnect to the project first.", 1008)
            with pytest.raises(RefusedError, match="Missing project context"):
                await next_event(events)
            with pytest.raises(RefusedError, match="Missing project context"):
                await client.subscribe("b").__aenter__()
        assert hub.connections == 1

    async def test_policy_violation_on_the_way_back_is_final(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed())
            events = await client.subscribe("a").__aenter__()
            await peer.websocket.close(1001)
            await (await hub.accept()).refuse(1008, "Missing or unknown project ID", 1008)
            with pytest.raises(RefusedError, match="unknown project"):
                await next_event(events)
        assert hub.connections == 2

    async def test_overload_on_the_way_back_is_tried_again(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed())
            await client.subscribe("a").__aenter__()
            await peer.websocket.close(1001)
            await (await hub.accept()).refuse(1013, "Too many requests", 1013)
            again = await hub.accept()
            await again.connected()
            await again.subscribed()

    async def test_refused_resubscription_ends_only_the_culprit(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed())
            good = await client.subscribe("a").__aenter__()
            tasks.create_task(peer.subscribed())
            bad = await client.subscribe("b").__aenter__()
            peer.websocket.transport.abort()
            again = await hub.accept()
            await again.connected()
            assert len(await again.message("subscribe")) == 2
            await again.send("error", {"code": 1003, "message": "no more of b"})
            await again.subscribed(recovered=True)
            await again.message("subscribe")
            await again.send("error", {"code": 1003, "message": "no more of b"})
            with pytest.raises(RefusedError, match="no more of b"):
                await next_event(bad)
            await again.event("1-0", good.id)
            assert (await next_event(good)).id == "1-0"

    @pytest.mark.parametrize("code", [1013, 503])
    async def test_refusal_that_may_pass_costs_no_subscription(self, hub: Hub, code: int) -> None:
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed())
            await client.subscribe("a").__aenter__()
            peer.websocket.transport.abort()
            again = await hub.accept()
            await again.connected()
            await again.message("subscribe")
            await again.send("error", {"code": code, "message": "Not now."})
            third = await hub.accept()
            await third.connected()
            await third.subscribed()

    async def test_draining_hub_decides_the_delay(self, hub: Hub) -> None:
        never = Backoff(base_s=10**6, max_s=10**6)
        async with opened(hub, backoff=never) as (_, peer):
            await peer.send("system", {"code": "draining", "message": "m", "retryAfterMs": 1})
            await peer.websocket.close(1001)
            await (await hub.accept()).connected()

    async def test_silent_hub_is_left_after_two_heartbeats(self, hub: Hub) -> None:
        async with opened(hub, timeouts=Timeouts(heartbeat_s=0.05, close_s=0.05)) as (client, peer):
            be_patient(client)
            peer.websocket.transport.pause_reading()
            again = await hub.accept()
            await again.connected()
            peer.websocket.transport.abort()

    async def test_fresh_token_is_asked_for_each_connection(self, hub: Hub) -> None:
        given = iter(["first", "second"])

        async def source() -> str:
            return next(given)

        async with opened(hub, jwt=source) as (_, peer):
            assert peer.headers["X-Appwrite-JWT"] == "first"
            peer.websocket.transport.abort()
            again = await hub.accept()
            assert again.headers["X-Appwrite-JWT"] == "second"


class TestFollow:
    """A subscription without events keeps up with the log, which drops what is old."""

    async def test_quiet_subscription_comes_back_from_the_present(self, hub: Hub) -> None:
        timeouts = Timeouts(position_s=0.01)
        async with opened(hub, timeouts=timeouts) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed("5-0"))
            quiet = await client.subscribe("a").__aenter__()
            assert await peer.subscribed("70-0") == []
            await until(lambda: quiet.position == "70-0")
            peer.websocket.transport.abort()
            again = await hub.accept()
            await again.connected("80-0")
            (item,) = await again.subscribed("80-0", recovered=True)
            assert item["since"] == "70-0"
            assert await again.subscribed("80-0") == []
            await again.event("80-0", quiet.id)
            await again.event("81-0", quiet.id)
            assert (await next_event(quiet)).id == "81-0"

    async def test_position_never_goes_back(self, hub: Hub) -> None:
        timeouts = Timeouts(position_s=0.01)
        async with opened(hub, timeouts=timeouts) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed("5-0"))
            events = await client.subscribe("a").__aenter__()
            await peer.event("9-0", events.id)
            for position in ("", "8-0"):
                assert await peer.subscribed(position) == []
            await peer.message("subscribe")
            assert events.position == "9-0"

    async def test_stored_position_stays_until_the_hub_has_taken_it(self, hub: Hub) -> None:
        timeouts = Timeouts(position_s=0.05)
        async with opened(hub, timeouts=timeouts) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed("5-0"))
            other = await client.subscribe("a").__aenter__()
            assert await peer.message("subscribe") == []
            entering = tasks.create_task(client.subscribe("b", since="3-0").__aenter__())
            (item,) = await peer.message("subscribe")
            response = {"to": "subscribe", "success": True, "subscriptions": [], "position": "9-0"}
            await peer.send("response", response)
            await until(lambda: other.position == "9-0")
            peer.websocket.transport.abort()
            again = await hub.accept()
            await again.connected("9-0")
            _, item = await again.subscribed("9-0", recovered=True)
            assert item["since"] == "3-0"
            await entering

    async def test_refused_question_is_asked_again(self, hub: Hub) -> None:
        async with (
            opened(hub, timeouts=Timeouts(position_s=0.01)) as (client, peer),
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(peer.subscribed("5-0"))
            quiet = await client.subscribe("a").__aenter__()
            await peer.message("subscribe")
            await peer.send("error", {"code": 1013, "message": "Too many messages."})
            await peer.subscribed("7-0")
            await until(lambda: quiet.position == "7-0")
        assert hub.connections == 1
