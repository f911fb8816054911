"""`realtime api` for real: several processes on one port, one database and one Redis."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from realtime.bus import connect
from realtime.identity.store import IdentityStore

REALTIME = str(Path(sys.executable).parent / "realtime")
ROOT = "the-root-key"
DEADLINE_S = 60.0


@pytest.fixture
async def client(
    database_url: str, redis_url: str, tmp_path: Path, free_port: Callable[[], int]
) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the root key of an API of two processes."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REALTIME_")}
    settings = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "DATA_DIR": str(tmp_path),
        "ROOT_KEY": ROOT,
        "PORT": str(port),
        "WORKERS": "2",
        "DRAIN_WINDOW_S": "0",
    }
    environment |= {f"REALTIME_{name}": value for name, value in settings.items()}
    process = await asyncio.create_subprocess_exec(
        REALTIME, "api", env=environment, stdout=asyncio.subprocess.DEVNULL
    )
    headers = {"X-Appwrite-Key": ROOT, "X-Appwrite-Project": "shop"}
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=DEADLINE_S, trust_env=False
    ) as client:
        try:
            await wait_for_health(client, process)
            yield client
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(DEADLINE_S):
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def wait_for_health(client: httpx.AsyncClient, process: asyncio.subprocess.Process) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            assert (await client.get("/v1/health")).json()["status"] == "pass"
        except httpx.TransportError:
            assert process.returncode is None
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        else:
            return


class TestProcesses:
    async def test_what_they_write_at_once_is_all_there_and_known(
        self, client: httpx.AsyncClient, redis_url: str
    ) -> None:
        await client.post("/v1/projects", json={"projectId": "shop", "name": "Shop"})

        async def create(number: int) -> int:
            # A connection of its own, so that both processes have their share.
            async with httpx.AsyncClient(
                base_url=client.base_url, headers=client.headers, timeout=DEADLINE_S, trust_env=False
            ) as own:
                host = f"h{number}.example"
                body = {"platformId": f"p{number}", "name": host, "hostname": host}
                return (await own.post("/v1/project/platforms/web", json=body)).status_code

        assert set(await asyncio.gather(*map(create, range(30)))) == {201}
        listed = (
            await client.get(
                "/v1/project/platforms", params={"queries[0]": '{"method":"limit","values":[100]}'}
            )
        ).json()
        assert listed["total"] == 30
        redis = connect(redis_url)
        try:
            project = await IdentityStore(redis).get_project("shop")
        finally:
            await redis.aclose()
        assert project is not None
        # Each answer came when hubs knew of the change: nothing is left to be told.
        assert {platform.hostname for platform in project.platforms} == {f"h{n}.example" for n in range(30)}
