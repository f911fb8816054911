"""The hub as operators run it: processes, signals, and what clients see of them."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from realtime.bus import RedisBus
from realtime.bus import connect as connect_redis
from realtime.identity.model import Project
from realtime.identity.store import IdentityStore
from realtime.publisher import Publisher

DEADLINE_S = 30.0
REALTIME = str(Path(sys.executable).parent / "realtime")


class HubProcess:
    """A `realtime hub` with a Redis behind it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, redis_url: str) -> None:
        self.process = process
        self.port = port
        self.redis_url = redis_url

    def connect(self) -> Any:
        """Connect a client that is subscribed to `rows`."""
        return connect(
            f"ws://127.0.0.1:{self.port}/v1/realtime?project=demo&channels[]=rows", ping_interval=None
        )

    async def get(self, path: str) -> httpx.Response:
        """Ask the hub over HTTP, on a new connection."""
        async with httpx.AsyncClient() as http:
            return await http.get(f"http://127.0.0.1:{self.port}{path}")

    async def publish(self) -> None:
        """Publish an event that anybody may read."""
        async with Publisher("demo", bus=RedisBus(connect_redis(self.redis_url))) as publisher:
            await publisher.publish("databases.d.tables.t.rows.1.create", {}, roles=["any"])
            await publisher._bus.aclose()

    async def ended(self) -> int:
        """Wait for the process to end and return its exit code."""
        return await asyncio.to_thread(self.process.wait, DEADLINE_S)


@pytest.fixture
def start(redis_url: str, free_port: Callable[[], int], tmp_path: Path) -> Any:
    """Return a function that runs a hub for the length of an ``async with``; its arguments are settings."""

    @contextlib.asynccontextmanager
    async def run(**settings: object) -> AsyncIterator[HubProcess]:
        redis = connect_redis(redis_url)
        await IdentityStore(redis).put_project(Project(id="demo"))
        await redis.aclose()
        port = free_port()
        environment = {f"REALTIME_{name.upper()}": str(value) for name, value in settings.items()}
        environment |= {"REALTIME_PORT": str(port), "REALTIME_REDIS_URL": redis_url}
        with (tmp_path / "hub.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: ASYNC220 - starting does not wait
                [REALTIME, "hub"], env=os.environ | environment, stdout=log, stderr=log, cwd=tmp_path
            )
        try:
            hub = HubProcess(process, port, redis_url)
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    with contextlib.suppress(httpx.TransportError):
                        await hub.get("/v1/health")
                        break
                    assert process.poll() is None, (tmp_path / "hub.log").read_text()
                    await asyncio.sleep(0.05)
            yield hub
        finally:
            process.kill()
            process.wait()

    return run


async def receive(client: ClientConnection, count: int = 1) -> list[str]:
    """Return the next frames of a client."""
    async with asyncio.timeout(DEADLINE_S):
        return [str(await client.recv()) for _ in range(count)]


class TestDrain:
    async def test_stopping_hub_sends_its_clients_away_and_ends_well(self, start: Any) -> None:
        async with start(drain_window_s=1) as hub, contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(hub.connect()) for _ in range(50)]
            for client in clients:
                await receive(client)
            hub.process.send_signal(signal.SIGTERM)
            for client in clients:
                (notice,) = await receive(client)
                assert '"type":"system"' in notice
                assert '"code":"draining"' in notice
                assert '"retryAfterMs":' in notice
                async with asyncio.timeout(DEADLINE_S):
                    await client.wait_closed()
                assert client.close_code == 1001
            assert await hub.ended() == 0

    async def test_stopping_hub_takes_nobody_in(self, start: Any) -> None:
        async with start(drain_window_s=1, close_timeout_s=1) as hub, hub.connect() as client:
            await receive(client)
            hub.process.send_signal(signal.SIGTERM)
            await receive(client)
            with pytest.raises(OSError, match="Connect call failed"):
                async with hub.connect():
                    pass
            assert await hub.ended() == 0


class TestWorkers:
    async def test_processes_share_the_port_and_their_metrics(self, start: Any) -> None:
        async with start(workers=2) as hub, contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(hub.connect()) for _ in range(20)]
            for client in clients:
                await receive(client)
            await hub.publish()
            for client in clients:
                (event,) = await receive(client)
                assert '"type":"event"' in event
            async with asyncio.timeout(DEADLINE_S):
                # Each process shares what it counted once a second.
                while "realtime_deliveries_total 20.0" not in (await hub.get("/metrics")).text:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            hub.process.send_signal(signal.SIGTERM)
            assert await hub.ended() == 0

    async def test_process_that_dies_is_replaced(self, start: Any) -> None:
        async with start(workers=2) as hub:
            children = Path(f"/proc/{hub.process.pid}/task/{hub.process.pid}/children")

            def workers() -> set[str]:
                found = set()
                for pid in children.read_text().split():
                    with contextlib.suppress(FileNotFoundError):
                        if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                            found.add(pid)
                return found

            before = workers()
            assert len(before) == 2
            killed = before.pop()
            os.kill(int(killed), signal.SIGKILL)
            async with asyncio.timeout(DEADLINE_S):
                while killed in workers() or len(workers()) < 2:  # noqa: ASYNC110 - processes tell nobody
                    await asyncio.sleep(0.05)
            async with hub.connect() as client:
                await receive(client)
            hub.process.send_signal(signal.SIGTERM)
            assert await hub.ended() == 0
