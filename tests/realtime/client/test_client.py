"""The client against a hub of which the test plays every part, frame by frame."""

import asyncio
import base64
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from realtime.client import (
    ConnectionLostError,
    Event,
    Gap,
    GapReason,
    RealtimeClient,
    RefusedError,
    Subscription,
    UnreachableError,
)
from realtime.client.connection import Timeouts
from realtime.client.schedule import Backoff

AT_ONCE = Backoff(base_s=0.0, max_s=0.0)
DEADLINE_S = 30.0
"""How long anything may take that a test waits for: far longer than it does."""


class Peer:
    """The hub's end of one connection."""

    def __init__(self, websocket: ServerConnection) -> None:
        self.websocket = websocket

    @property
    def headers(self) -> dict[str, str]:
        assert self.websocket.request is not None
        return dict(self.websocket.request.headers.raw_items())

    async def send(self, frame_type: str, data: object) -> None:
        await self.websocket.send(json.dumps({"type": frame_type, "data": data}))

    async def connected(self, position: str = "", user: object = None) -> None:
        await self.send(
            "connected", {"channels": [], "subscriptions": [], "user": user, "position": position}
        )

    async def refuse(self, code: int, message: str, close_code: int) -> None:
        await self.send("error", {"code": code, "message": message})
        await self.websocket.close(close_code)

    async def message(self, expected_type: str) -> Any:
        """Return ``data`` of the client's next message."""
        async with asyncio.timeout(DEADLINE_S):
            message = json.loads(await self.websocket.recv())
        assert message["type"] == expected_type
        return message["data"]

    async def subscribed(self, position: str = "", **extra: object) -> list[dict[str, Any]]:
        """Take a subscribe message and confirm it at a position of the log; return its items."""
        items: list[dict[str, Any]] = await self.message("subscribe")
        answers = [
            {"subscriptionId": item["subscriptionId"], "channels": item["channels"], "queries": [], **extra}
            for item in items
        ]
        response = {"to": "subscribe", "success": True, "subscriptions": answers, "position": position}
        await self.send("response", response)
        return items

    async def unsubscribed(self) -> list[str]:
        ids = [item["subscriptionId"] for item in await self.message("unsubscribe")]
        answers = [{"subscriptionId": subscription_id, "removed": True} for subscription_id in ids]
        await self.send("response", {"to": "unsubscribe", "success": True, "subscriptions": answers})
        return ids

    async def event(self, event_id: str, *subscriptions: str, **payload: object) -> None:
        data = {"events": ["a.b"], "channels": ["a"], "timestamp": "t", "payload": payload}
        await self.send("event", {**data, "id": event_id, "subscriptions": list(subscriptions)})


class Hub:
    """Hands every connection to the test, in the order of arrival."""

    def __init__(self) -> None:
        self.endpoint = ""
        self._arrived: asyncio.Queue[Peer] = asyncio.Queue()
        self.connections = 0

    async def handle(self, websocket: ServerConnection) -> None:
        self.connections += 1
        self._arrived.put_nowait(Peer(websocket))
        await websocket.wait_closed()

    async def accept(self) -> Peer:
        async with asyncio.timeout(DEADLINE_S):
            return await self._arrived.get()


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    hub = Hub()
    server: Server
    async with serve(hub.handle, "127.0.0.1", 0) as server:
        hub.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        yield hub


@contextlib.asynccontextmanager
async def opened(
    hub: Hub, *, position: str = "", **options: Any
) -> AsyncIterator[tuple[RealtimeClient, Peer]]:
    """Yield a client and its first connection."""
    client = RealtimeClient(hub.endpoint, "demo", **{"backoff": AT_ONCE, **options})
    async with asyncio.TaskGroup() as tasks:
        entering = tasks.create_task(client.__aenter__())
        peer = await hub.accept()
        await peer.connected(position)
    await entering
    try:
        yield client, peer
    finally:
        await client.__aexit__(None, None, None)


def be_patient(client: RealtimeClient) -> None:
    """Give the connections after this one, and the readers from now on, more time than a slow machine needs."""
    client._timeouts = Timeouts()


async def next_event(events: AsyncIterator[Event]) -> Event:
    async with asyncio.timeout(DEADLINE_S):
        return await anext(events)


def token(expires_at: float) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": expires_at}).encode()).rstrip(b"=").decode()
    return f"e30.{claims}.c2ln"


class TestOpen:
    async def test_credentials_travel_in_headers_not_in_the_url(self, hub: Hub) -> None:
        for option, header in [("session", "X-Appwrite-Session"), ("key", "X-Appwrite-Key")]:
            async with opened(hub, **{option: "secret"}) as (_, peer):
                assert peer.headers[header] == "secret"
                assert peer.headers["X-Appwrite-Project"] == "demo"
                assert peer.websocket.request is not None
                assert peer.websocket.request.path == "/v1/realtime?project=demo"

    async def test_compression_is_offered(self, hub: Hub) -> None:
        async with opened(hub) as (_, peer):
            assert "permessage-deflate" in peer.headers["Sec-WebSocket-Extensions"]

    async def test_two_credentials_are_refused(self) -> None:
        with pytest.raises(ValueError, match="one of"):
            RealtimeClient("http://localhost/v1", "demo", session="s", key="k")

    async def test_queue_without_room_is_refused(self) -> None:
        with pytest.raises(ValueError, match="queue_size"):
            RealtimeClient("http://localhost/v1", "demo", queue_size=0)

    async def test_account_and_position_come_from_the_connected_frame(self, hub: Hub) -> None:
        client = RealtimeClient(hub.endpoint, "demo")
        entering = asyncio.create_task(client.__aenter__())
        await (await hub.accept()).connected("12-0", {"$id": "ann"})
        await entering
        assert client.user == {"$id": "ann"}
        assert client.position == "12-0"
        assert client.is_connected
        await client.__aexit__(None, None, None)
        assert not client.is_connected

    @pytest.mark.parametrize(
        ("code", "close_code", "retryable"), [(1008, 1008, False), (401, 1008, False), (1013, 1013, True)]
    )
    async def test_error_frame_at_open_is_raised(
        self, hub: Hub, code: int, close_code: int, retryable: bool
    ) -> None:
        entering = asyncio.create_task(RealtimeClient(hub.endpoint, "demo").__aenter__())
        await (await hub.accept()).refuse(code, "no", close_code)
        with pytest.raises(RefusedError, match="no") as caught:
            await entering
        assert (caught.value.code, caught.value.message, caught.value.retryable) == (code, "no", retryable)

    async def test_policy_violation_without_close_frame_is_final(self, hub: Hub) -> None:
        entering = asyncio.create_task(RealtimeClient(hub.endpoint, "demo").__aenter__())
        peer = await hub.accept()
        await peer.send("error", {"code": 1008, "message": "no"})
        peer.websocket.transport.close()
        with pytest.raises(RefusedError) as caught:
            await entering
        assert not caught.value.retryable

    async def test_nobody_listening_is_unreachable(self, unused_endpoint: str) -> None:
        with pytest.raises(UnreachableError, match="cannot open ws://127"):
            await RealtimeClient(unused_endpoint, "demo").__aenter__()

    async def test_hub_that_says_nothing_is_unreachable(self, hub: Hub) -> None:
        client = RealtimeClient(hub.endpoint, "demo", timeouts=Timeouts(open_s=0.05))
        with pytest.raises(UnreachableError):
            await client.__aenter__()

    async def test_other_first_frame_is_unreachable(self, hub: Hub) -> None:
        entering = asyncio.create_task(RealtimeClient(hub.endpoint, "demo").__aenter__())
        await (await hub.accept()).send("event", {})
        with pytest.raises(UnreachableError, match="not 'connected'"):
            await entering

    async def test_failing_token_source_is_unreachable(self, hub: Hub) -> None:
        async def source() -> str:
            raise OSError("no token today")

        with pytest.raises(UnreachableError, match="no token today"):
            await RealtimeClient(hub.endpoint, "demo", jwt=source).__aenter__()

    async def test_entering_twice_is_misuse(self, hub: Hub) -> None:
        async with opened(hub) as (client, _):
            with pytest.raises(RuntimeError, match="open already"):
                await client.__aenter__()

    async def test_subscribing_on_a_closed_client_is_misuse(self, hub: Hub) -> None:
        client = RealtimeClient(hub.endpoint, "demo")
        with pytest.raises(RuntimeError, match="not open"):
            await client.subscribe("a").__aenter__()


@pytest.fixture
async def unused_endpoint() -> str:
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return f"http://127.0.0.1:{port}/v1"


class TestSubscribe:
    async def test_block_begins_after_the_hub_has_confirmed(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer):
            subscription = client.subscribe(["a", "b"], ['{"method":"equal"}'])
            entering = asyncio.create_task(subscription.__aenter__())
            (item,) = await peer.message("subscribe")
            assert item == {
                "subscriptionId": subscription.id,
                "channels": ["a", "b"],
                "queries": ['{"method":"equal"}'],
            }
            assert not entering.done()
            answer = {"subscriptionId": subscription.id, "channels": ["a.converted", "b"], "queries": []}
            await peer.send("response", {"to": "subscribe", "success": True, "subscriptions": [answer]})
            await entering
            assert subscription.channels == ("a.converted", "b")

    async def test_events_reach_the_subscriptions_they_name(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed())
            first = await client.subscribe("a").__aenter__()
            tasks.create_task(peer.subscribed())
            second = await client.subscribe("b").__aenter__()
            await peer.event("1-0", first.id, n=1)
            await peer.event("2-0", first.id, second.id, n=2)
            await peer.event("3-0", "unknown", n=3)
            await peer.event("4-0", second.id, n=4)
            assert [(await next_event(first)).payload["n"] for _ in range(2)] == [1, 2]
            assert [(await next_event(second)).payload["n"] for _ in range(2)] == [2, 4]
            assert client.position == "4-0"
        assert hub.connections == 1

    async def test_leaving_the_block_unsubscribes(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed())
            async with client.subscribe("a") as events:
                unsubscribed = tasks.create_task(peer.unsubscribed())
            assert await unsubscribed == [events.id]
            with pytest.raises(StopAsyncIteration):
                await anext(events)

    async def test_plain_loop_subscribes_and_unsubscribes(self, hub: Hub) -> None:
        async def play(peer: Peer) -> list[str]:
            (item,) = await peer.subscribed()
            await peer.event("1-0", item["subscriptionId"], n=1)
            return await peer.unsubscribed()

        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            playing = tasks.create_task(play(peer))
            subscription = client.subscribe("a")
            async for event in subscription:
                assert event.payload == {"n": 1}
                break
            assert await playing == [subscription.id]

    async def test_refused_subscription_raises_and_leaves_the_others(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed())
            good = await client.subscribe("a").__aenter__()
            refused = asyncio.create_task(client.subscribe("b", ["nonsense"]).__aenter__())
            await peer.message("subscribe")
            await peer.send("error", {"code": 1003, "message": "Invalid query: Syntax error"})
            with pytest.raises(RefusedError, match="Invalid query") as caught:
                await refused
            assert caught.value.code == 1003
            await peer.event("1-0", good.id)
            assert (await next_event(good)).id == "1-0"

    async def test_requests_are_answered_in_their_order(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer):
            first = asyncio.create_task(client.subscribe("a").__aenter__())
            await peer.message("subscribe")
            second = asyncio.create_task(client.subscribe("b").__aenter__())
            (item,) = await peer.message("subscribe")
            await peer.send("error", {"code": 1003, "message": "first"})
            answer = {"subscriptionId": item["subscriptionId"], "channels": ["b"], "queries": []}
            await peer.send("response", {"to": "subscribe", "success": True, "subscriptions": [answer]})
            with pytest.raises(RefusedError, match="first"):
                await first
            assert (await second).channels == ("b",)

    async def test_cancelled_subscribe_does_not_take_the_next_answer(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer):
            cancelled = asyncio.create_task(client.subscribe("a").__aenter__())
            await peer.message("subscribe")
            cancelled.cancel()
            await asyncio.wait([cancelled])
            second = asyncio.create_task(client.subscribe("b").__aenter__())
            await peer.message("subscribe")
            await peer.send("error", {"code": 1003, "message": "for the cancelled one"})
            await peer.send("error", {"code": 1003, "message": "for the second"})
            with pytest.raises(RefusedError, match="for the second"):
                await second

    async def test_entering_a_subscription_twice_is_misuse(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed())
            subscription = await client.subscribe("a").__aenter__()
            with pytest.raises(RuntimeError, match="once"):
                await subscription.__aenter__()

    async def test_reading_before_entering_is_misuse(self, hub: Hub) -> None:
        async with opened(hub) as (client, _):
            with pytest.raises(RuntimeError, match="enter the subscription first"):
                await anext(client.subscribe("a"))

    async def test_frames_of_unknown_form_are_skipped(
        self, hub: Hub, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed())
            events = await client.subscribe("a").__aenter__()
            await peer.send("novelty", {"x": 1})
            await peer.websocket.send("not json")
            await peer.websocket.send(b'{"type":"error","data":{"code":1,"message":"\xff"}}', text=True)
            await peer.websocket.send('{"type":"pong"}')
            await peer.send("event", {"events": 5})
            await peer.send("error", {"code": 1013, "message": "Too many messages."})
            await peer.event("1-0", events.id)
            assert (await next_event(events)).id == "1-0"
        assert "not understood" in caplog.text

    async def test_closing_the_client_ends_every_iterator(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed())
            events = await client.subscribe("a").__aenter__()
            reading = tasks.create_task(collect(events))
            await peer.event("1-0", events.id)
            await until(lambda: client.position == "1-0")
            await client.__aexit__(None, None, None)
            assert [event.id for event in await reading] == ["1-0"]

    async def test_closing_the_client_fails_a_subscribe_under_way(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer):
            entering = asyncio.create_task(client.subscribe("a").__aenter__())
            await peer.message("subscribe")
            await client.__aexit__(None, None, None)
            with pytest.raises(ConnectionLostError, match="closed"):
                await entering


async def collect(events: AsyncIterator[Event], count: int = 0) -> list[Event]:
    """Return the next ``count`` events, or all until the end."""
    received = []
    async for event in events:
        received.append(event)
        if len(received) == count:
            break
    return received


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

    async def test_rate_limited_resubscription_tries_another_connection(self, hub: Hub) -> None:
        async with opened(hub) as (client, peer), asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.subscribed())
            await client.subscribe("a").__aenter__()
            peer.websocket.transport.abort()
            again = await hub.accept()
            await again.connected()
            await again.message("subscribe")
            await again.send("error", {"code": 1013, "message": "Too many messages."})
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


class TestToken:
    async def test_token_near_its_end_is_renewed_on_the_open_connection(self, hub: Hub) -> None:
        tokens = [token(time.time() + 30.5), token(time.time() + 3600)]
        given = iter(tokens)

        async def source() -> str:
            return next(given)

        async with opened(hub, jwt=source) as (client, peer):
            assert await peer.message("authentication") == {"jwt": tokens[1]}
            await peer.send("response", {"to": "authentication", "success": True, "user": {"$id": "ann"}})
            await until(lambda: client.user == {"$id": "ann"})
        assert hub.connections == 1

    async def test_refused_renewal_asks_the_next_handshake(self, hub: Hub) -> None:
        async def source() -> str:
            return token(time.time())

        async with opened(hub, jwt=source) as (_, peer):
            await peer.message("authentication")
            await peer.send("error", {"code": 1003, "message": "Failed to verify JWT."})
            await (await hub.accept()).connected()


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


class TestClose:
    async def test_closing_sends_a_close_frame(self, hub: Hub) -> None:
        async with opened(hub) as (_, peer):
            pass
        with pytest.raises(ConnectionClosed):
            await peer.websocket.recv()
        assert peer.websocket.close_code == 1000

    async def test_closing_while_away_stops_coming_back(self, hub: Hub) -> None:
        async with opened(hub, backoff=Backoff(base_s=10**6, max_s=10**6)) as (client, peer):
            peer.websocket.transport.abort()
            await until(lambda: not client.is_connected)
        assert hub.connections == 1

    async def test_leaving_a_client_that_was_never_entered_does_nothing(self) -> None:
        await RealtimeClient("http://localhost/v1", "demo").__aexit__(None, None, None)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, with a deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  (the client has no event for it)
            await asyncio.sleep(0.005)
