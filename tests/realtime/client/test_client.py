"""The client against a hub of which the test plays every part: connecting, subscribing, and closing."""

import asyncio
import base64
import json
import time

import pytest
from websockets.exceptions import ConnectionClosed

from realtime.client import ConnectionLostError, RealtimeClient, RefusedError, UnreachableError
from realtime.client.connection import Timeouts
from realtime.client.schedule import Backoff
from tests.realtime.client.peer import Hub, Peer, collect, next_event, opened, until


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
