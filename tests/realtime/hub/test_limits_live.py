"""Limits on connections, clients that do not read, and clients that are not there any more."""

import asyncio
import socket
from typing import TYPE_CHECKING

from websockets.frames import Opcode

if TYPE_CHECKING:
    from tests.realtime.hub.conftest import RunningHub, Start

EVENT = "databases.d.tables.t.rows.1.create"
HANDSHAKE = (
    b"GET /v1/realtime?project=demo&channels[]=rows HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def raw_client(hub: "RunningHub") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a WebSocket subscribed to `rows` that does nothing by itself, with a small receive buffer."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.connect(("127.0.0.1", hub.port))
    peer.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=peer, limit=1024)
    writer.write(HANDSHAKE)
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


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
    async def test_client_that_does_not_read_is_given_up_and_others_stay(self, start_hub: "Start") -> None:
        async with start_hub(send_buffer_bytes=65_536, close_timeout_s=0.1) as hub, hub.greeted() as other:
            await other.subscribe("rows")
            _, writer = await raw_client(hub)
            await hub.until(lambda: hub.hub.registry.connection_count == 2)
            sent = 0
            while hub.hub.registry.connection_count == 2:
                # The kernel's own buffers take some megabytes before the hub's begins to fill.
                await hub.deliver(EVENT, {"pad": "x" * 200_000}, roles=["any"])
                sent += 1
                assert sent < 500
            for _ in range(sent):
                await other.receive_event()
            await other.assert_silent()
            assert (await hub.metrics())["realtime_connections_closed_total/too_slow"] == 1
            # Nothing is kept for a client that was given up.
            await hub.until(lambda: len(hub.server.server_state.connections) == 1)
            writer.close()

    async def test_burst_below_the_limit_reaches_a_client_that_reads_later(self, start_hub: "Start") -> None:
        async with start_hub(send_buffer_bytes=4_000_000) as hub, hub.greeted() as client:
            await client.subscribe("rows")
            for _ in range(20):
                await hub.deliver(EVENT, {"pad": "x" * 100_000}, roles=["any"])
            for _ in range(20):
                await client.receive_event()


class TestHeartbeat:
    async def test_silent_client_is_pinged_and_dropped(self, start_hub: "Start") -> None:
        async with start_hub(heartbeat_interval_s=1) as hub:
            reader, writer = await raw_client(hub)
            async with asyncio.timeout(10):
                received = await reader.read(-1)
            assert bytes((0x80 | Opcode.PING, 0)) in received
            await hub.until(lambda: hub.hub.registry.connection_count == 0)
            writer.close()

    async def test_client_that_answers_stays(self, start_hub: "Start") -> None:
        async with start_hub(heartbeat_interval_s=1) as hub, hub.greeted() as client:
            connection = next(iter(hub.hub.registry.rooms["demo"].connections))
            for _ in range(2):
                hub.hub._beat()
                assert connection.awaits_pong
                await hub.until(lambda: not connection.awaits_pong)
            await client.assert_silent()
