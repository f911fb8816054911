"""The hub as operators run it: processes, signals, log lines, and what clients see of them."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import redis.asyncio

from realtime.bus.keys import live_channel
from realtime.identity.model import Session, User
from realtime.identity.secrets import encode_session, hash_secret
from realtime.identity.store import IdentityStore
from realtime.publisher import Publisher

if TYPE_CHECKING:
    from tests.realtime.hub.conftest import Client, HubProcess, StartProcess

DEADLINE_S = 20.0

EVENT = "databases.d.tables.t.rows.1.create"
HANDSHAKE = (
    b"GET /v1/realtime?project=demo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def publish(redis_url: str) -> None:
    """Publish an event that anybody may read."""
    async with Publisher("demo", redis_url=redis_url) as publisher:
        await publisher.publish(EVENT, {}, roles=["any"])


async def assert_sent_away(client: "Client") -> None:
    """Check that a client is told to come back, and when, and then closed."""
    notice = await client.receive()
    assert (notice["type"], notice["data"]["code"]) == ("system", "draining")
    assert 0 <= notice["data"]["retryAfterMs"] <= 5000
    assert await client.closed() == 1001


@contextlib.asynccontextmanager
async def silent_client(hub: "HubProcess") -> AsyncIterator[asyncio.StreamReader]:
    """Open a WebSocket that answers nothing, a close frame neither."""
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    writer.write(HANDSHAKE)
    await reader.readuntil(b'"connected"')
    yield reader
    writer.transport.abort()


class TestDrain:
    async def test_stopping_hub_sends_its_clients_away_and_ends_well(
        self, start_process: "StartProcess"
    ) -> None:
        async with start_process(drain_window_s=1) as hub, contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(hub.greeted()) for _ in range(50)]
            hub.process.send_signal(signal.SIGTERM)
            for client in clients:
                await assert_sent_away(client)
            assert await hub.ended() == 0

    async def test_stopping_hub_takes_nobody_in(self, start_process: "StartProcess") -> None:
        async with start_process(drain_window_s=1, close_timeout_s=60) as hub, silent_client(hub) as silent:
            hub.process.send_signal(signal.SIGTERM)
            await silent.readuntil(b'"draining"')
            with pytest.raises(OSError, match="Connect call failed"):
                await asyncio.open_connection("127.0.0.1", hub.port)
            assert hub.process.returncode is None

    async def test_client_that_does_not_answer_is_cut_off(self, start_process: "StartProcess") -> None:
        async with start_process(drain_window_s=0, close_timeout_s=0.2) as hub, silent_client(hub) as silent:
            hub.process.send_signal(signal.SIGTERM)
            await silent.readuntil(b'"draining"')
            with contextlib.suppress(ConnectionResetError):
                await silent.read()
            assert await hub.ended() == 0

    async def test_interrupt_while_draining_ends_the_process_at_once(
        self, start_process: "StartProcess"
    ) -> None:
        async with start_process(drain_window_s=60, close_timeout_s=60) as hub, silent_client(hub) as silent:
            hub.process.send_signal(signal.SIGTERM)
            await silent.readuntil(b'"draining"')
            hub.process.send_signal(signal.SIGINT)
            assert await hub.ended() == 0


class TestLog:
    async def test_one_line_for_each_opening_and_end_and_none_for_a_message(
        self, start_process: "StartProcess", redis_url: str
    ) -> None:
        async with start_process(log_level="debug") as hub:
            async with hub.greeted() as client:
                await client.subscribe("rows")
                await publish(redis_url)
                await client.receive_event()
                await client.assert_silent()
            await hub.refusal("unknown")
            hub.process.send_signal(signal.SIGTERM)
            await hub.ended()
            connections = [line for line in hub.logged() if line["event"].startswith("connection ")]
        assert [line["event"] for line in connections] == [
            "connection opened",
            "connection closed",
            "connection refused",
        ]
        opened, closed, refused = connections
        assert opened["peer"] == closed["peer"] == refused["peer"] == "127.0.0.1"
        assert (opened["project"], closed["reason"], refused["code"]) == ("demo", "client", 1008)
        assert {line["logger"] for line in connections} == {"realtime.hub"}
        assert all({"timestamp", "level"} <= line.keys() for line in connections)

    async def test_lines_of_the_http_server_have_the_same_form(self, start_process: "StartProcess") -> None:
        async with start_process(log_level="debug") as hub:
            hub.process.send_signal(signal.SIGTERM)
            await hub.ended()
            assert "uvicorn.error" in {line["logger"] for line in hub.logged()}

    async def test_no_secret_is_ever_logged(
        self, start_process: "StartProcess", redis_client: redis.asyncio.Redis
    ) -> None:
        session = Session(
            id="s1", secret_hash=hash_secret("session-secret"), provider="email", expires_at=2e9
        )
        store = IdentityStore(redis_client)
        async with start_process(log_level="debug") as hub:
            await store.put_user("demo", User(id="ada", sessions=(session,)))
            value = encode_session("ada", "session-secret")
            token = hub.token("bob")
            wrong = hub.token("bob", exp=1)
            for headers in (
                {"x-appwrite-session": value},
                {"cookie": f"a_session_demo={value}"},
                {"x-appwrite-jwt": token},
            ):
                async with hub.greeted(headers=headers) as client:
                    await client.ask("authentication", {"session": "presented-session"})
                    await client.ask("authentication", {"jwt": wrong})
            await hub.refusal(headers={"x-appwrite-key": "presented-key"})
            await hub.refusal(jwt=wrong, query="devKey=presented-dev-key")
            hub.process.send_signal(signal.SIGTERM)
            await hub.ended()
            text = hub.logged_text()
        assert "connection refused" in text
        for secret in ("session-secret", "presented-", value, token, wrong, hub.secret):
            assert secret not in text


class TestWorkers:
    @pytest.fixture
    async def hub(self, start_process: "StartProcess") -> "AsyncIterator[HubProcess]":
        async with start_process(workers=2, drain_window_s=1, connections_per_minute=0) as hub:
            yield hub

    @contextlib.asynccontextmanager
    async def clients_of_both(
        self, hub: "HubProcess", redis_client: redis.asyncio.Redis
    ) -> "AsyncIterator[list[Client]]":
        """Connect clients until both processes have some: then both listen to their project."""
        async with contextlib.AsyncExitStack() as stack:
            clients: list[Client] = []
            listening = 0
            async with asyncio.timeout(DEADLINE_S):
                while listening < 2:
                    client = await stack.enter_async_context(hub.greeted())
                    await client.subscribe("rows")
                    clients.append(client)
                    ((_, listening),) = await redis_client.pubsub_numsub(live_channel("demo"))
            yield clients

    async def until_metric(self, hub: "HubProcess", name: str, value: float) -> None:
        """Wait for a metric: each process tells the others once a second what it has counted."""
        async with asyncio.timeout(DEADLINE_S):
            while (await hub.metrics()).get(name) != value:  # noqa: ASYNC110 - another process' state
                await asyncio.sleep(0.05)

    async def workers_started(self, hub: "HubProcess", count: int) -> list[int]:
        """Wait until so many worker processes have been started; return their IDs."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                started = [line["pid"] for line in hub.logged() if line["event"] == "worker started"]
                if len(started) >= count:
                    return started
                await asyncio.sleep(0.05)

    async def test_connections_are_spread_and_all_of_them_served(
        self, hub: "HubProcess", redis_client: redis.asyncio.Redis, redis_url: str
    ) -> None:
        async with self.clients_of_both(hub, redis_client) as clients:
            await publish(redis_url)
            for client in clients:
                await client.receive_event()
            await self.until_metric(hub, "realtime_deliveries_total", len(clients))
            await self.until_metric(hub, "realtime_connections", len(clients))
            metrics = await hub.metrics()
            assert metrics["realtime_events_received_total/demo"] == 2
            assert metrics["realtime_projects"] == 2
            assert metrics["realtime_redis_up"] == 1

            hub.process.send_signal(signal.SIGTERM)
            for client in clients:
                await assert_sent_away(client)
            assert await hub.ended() == 0

    async def test_process_that_dies_is_replaced_and_its_connections_are_not_counted_any_more(
        self, hub: "HubProcess", redis_client: redis.asyncio.Redis
    ) -> None:
        async with self.clients_of_both(hub, redis_client) as clients:
            await self.until_metric(hub, "realtime_connections", len(clients))
            killed, _ = await self.workers_started(hub, 2)
            os.kill(killed, signal.SIGKILL)
            await self.workers_started(hub, 3)
            left = [client for client in clients if client.socket.close_code is None]
            assert 0 < len(left) < len(clients)
            await self.until_metric(hub, "realtime_connections", len(left))
            for client in left:
                await client.assert_silent()
            assert (await hub.metrics())["realtime_connections_opened_total"] == len(clients)
            hub.process.send_signal(signal.SIGTERM)
            assert await hub.ended() == 0
