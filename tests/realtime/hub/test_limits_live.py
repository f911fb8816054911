"""Limits on connections, clients that do not read, and clients that are not there any more."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from websockets.frames import Opcode

from realtime.errors import CloseCode
from realtime.events.event import Event
from realtime.hub.frames import close_frame
from realtime.publisher import Publisher

if TYPE_CHECKING:
    from tests.realtime.hub.conftest import RunningHub, Start

EVENT = "databases.d.tables.t.rows.1.create"
HANDSHAKE = (
    b"GET /v1/realtime?project=demo&channels[]=rows HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@contextlib.asynccontextmanager
async def raw_client(hub: "RunningHub") -> AsyncIterator[asyncio.StreamReader]:
    """Open a WebSocket subscribed to `rows` that does nothing by itself, with a small receive buffer."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.connect(("127.0.0.1", hub.port))
    peer.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=peer, limit=1024)
    writer.write(HANDSHAKE)
    await reader.readuntil(b"\r\n\r\n")
    yield reader
    writer.transport.abort()


class TestConnections:
    async def test_process_that_is_full_sends_clients_away(self, start_hub: "Start") -> None:
        async with start_hub(max_connections=1) as hub, hub.greeted():
            assert await hub.refusal() == (1013, "Too many requests", 1013)

    async def test_project_that_is_full_sends_clients_away(self, start_hub: "Start") -> None:
        async with start_hub(max_project_connections=1) as hub:
            async with hub.greeted():
                assert await hub.refusal() == (1013, "Too many connections to this project", 1013)
            await hub.until(lambda: hub.hub.registry.connection_count == 0)
            async with hub.greeted():
                pass

    async def test_without_limits_nothing_is_counted(self, start_hub: "Start") -> None:
        async with start_hub(limits="off", connections_per_minute=1, messages_per_minute=1) as hub:
            for _ in range(3):
                async with hub.greeted() as client:
                    for _ in range(3):
                        assert await client.ask("ping") == {"type": "pong"}


class TestSlowClient:
    @pytest.mark.parametrize(("size_bytes", "at_once"), [(1_000, 200), (30_000, 5), (1_000_000, 1)])
    async def test_client_that_does_not_read_is_given_up_and_others_stay(
        self, start_hub: "Start", size_bytes: int, at_once: int
    ) -> None:
        limit_bytes = 1_048_576
        async with (
            start_hub(send_buffer_bytes=limit_bytes, close_timeout_s=0.1) as hub,
            hub.greeted() as other,
            raw_client(hub),
        ):
            await other.subscribe("rows")
            await hub.until(lambda: hub.hub.registry.connection_count == 2)
            *_, slow = hub.hub.registry.rooms["demo"].connections
            transport = slow.wire._transport  # type: ignore[attr-defined]
            events = [Event(name=EVENT, payload={"pad": "x" * size_bytes}, roles=["any"])] * at_once
            async with Publisher(hub.project, bus=hub.hub.bus) as publisher, asyncio.timeout(20):
                # The kernel's own buffers take some megabytes before the hub's begins to fill.
                while not slow.closed:
                    await publisher.publish_many(events)
                    for _ in events:
                        await other.receive_event()
                    # Over the limit by the one write that was too much, and by the close frame. Events that came in
                    # together are one write: up to 64 KB and the event that reaches it, with a head and an end each.
                    assert transport.get_write_buffer_size() <= limit_bytes + 65_536 + size_bytes + 5_000
            await other.assert_silent()
            assert (await hub.metrics())["realtime_connections_closed_total/too_slow"] == 1
            # Nothing is kept for a client that was given up.
            await hub.until(lambda: len(hub.server.server_state.connections) == 1)

    async def test_client_that_was_too_slow_is_told_so_when_it_reads_again(self, start_hub: "Start") -> None:
        async with start_hub(send_buffer_bytes=65_536, close_timeout_s=60) as hub, raw_client(hub) as reader:
            await hub.until(lambda: hub.hub.registry.connection_count == 1)
            async with asyncio.timeout(20):
                while hub.hub.registry.connection_count == 1:
                    await hub.deliver(EVENT, {"pad": "x" * 200_000}, roles=["any"])
                end = close_frame(CloseCode.TRY_AGAIN_LATER, "Too slow.")
                received = b""
                while not received.endswith(end):
                    chunk = await reader.read(1_000_000)
                    assert chunk
                    received = received[-len(end) :] + chunk

    async def test_client_that_reads_is_sent_all_of_an_outage(
        self, start_hub: "Start", proxy: Any, redis_url: str
    ) -> None:
        """Far more than the limit comes from the log, but no faster than it is taken."""
        async with (
            start_hub(redis_url=proxy.url, send_buffer_bytes=64 * 1024) as hub,
            hub.greeted() as client,
            Publisher("demo", redis_url=redis_url) as publisher,
        ):
            await client.subscribe("rows")
            proxy.refuse()
            for number in range(600):
                await publisher.publish(EVENT, {"n": number, "pad": "x" * 20_000}, roles=["any"])
            proxy.accept()
            received = [(await client.receive_event())["payload"]["n"] for _ in range(600)]
            assert received == list(range(600))

    async def test_burst_below_the_limit_reaches_a_client_that_reads_later(self, start_hub: "Start") -> None:
        async with start_hub(send_buffer_bytes=4_000_000) as hub, hub.greeted() as client:
            await client.subscribe("rows")
            for _ in range(20):
                await hub.deliver(EVENT, {"pad": "x" * 100_000}, roles=["any"])
            for _ in range(20):
                await client.receive_event()


class TestHeartbeat:
    async def test_silent_client_is_pinged_and_dropped(self, start_hub: "Start") -> None:
        async with start_hub(heartbeat_interval_s=1) as hub, raw_client(hub) as reader:
            async with asyncio.timeout(10):
                received = await reader.read(-1)
            assert bytes((0x80 | Opcode.PING, 0)) in received
            await hub.until(lambda: hub.hub.registry.connection_count == 0)
            assert (await hub.metrics())["realtime_connections_closed_total/heartbeat"] == 1

    async def test_client_that_answers_stays(self, start_hub: "Start") -> None:
        async with start_hub(heartbeat_interval_s=1) as hub, hub.greeted() as client:
            connection = next(iter(hub.hub.registry.rooms["demo"].connections))
            for _ in range(2):
                hub.hub._beat()
                assert connection.awaits_pong
                await hub.until(lambda: not connection.awaits_pong)
            await client.assert_silent()
