"""Real servers for real clients: `realtime dev` as a process of its own, on a Valkey of its own."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis.asyncio

from realtime.identity.store import IdentityStore
from workers.embedded import EmbeddedValkey

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0
PROJECT = "demo"
KEY = "e2e-key-of-the-demo-project"
SECRET = "e2e-secret-that-signs-the-tokens-of-these-tests"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.e2e)


class Server:
    """A running `realtime dev`."""

    project = PROJECT
    key = KEY
    secret = SECRET

    def __init__(self, port: int, redis_url: str, log_file: Path, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self.endpoint = f"http://127.0.0.1:{port}/v1"
        self.redis_url = redis_url
        self.log_file = log_file
        self.process = process

    async def publish(self, event: str, payload: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Publish over HTTP as a backend would; return what the API says of the event."""
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            response = await client.post(
                f"{self.endpoint}/events",
                json={"event": event, "payload": payload, **options},
                headers={"X-Appwrite-Project": self.project, "X-Appwrite-Key": self.key},
            )
        assert response.status_code == 202, response.text
        published: dict[str, Any] = response.json()["events"][0]
        return published

    @contextlib.asynccontextmanager
    async def store(self) -> AsyncIterator[IdentityStore]:
        """Open the read model that the server reads."""
        client = redis.asyncio.Redis.from_url(self.redis_url)
        try:
            yield IdentityStore(client)
        finally:
            await client.aclose()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"realtime dev did not start:\n{self.log()}")
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.endpoint}/health", trust_env=False, timeout=2).status_code == 200:
                    return
            time.sleep(0.05)

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def stop(self) -> None:
        """Stop as an operator would; a server that does not end is killed, and that is a failure."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                # The process leads a session of its own, so nothing of it is left behind.
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
                pytest.fail(f"realtime dev did not end within {STOP_TIMEOUT_S:g} s:\n{self.log()}")


class Proxy:
    """A TCP proxy in front of the server that can cut every connection through it, and measures what comes."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        # What has come for clients, of all connections.
        self.received_bytes = 0
        self._until_cut = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        pair = {writer, there_writer}
        self._writers |= pair
        try:
            await asyncio.gather(
                self._pipe(reader, there_writer), self._pipe(there_reader, writer, count=True)
            )
        finally:
            self._writers -= pair
            for end in pair:
                end.close()

    async def _pipe(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, count: bool = False
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                self.received_bytes += count * len(data)
                if not count and self._until_cut:
                    self._until_cut = max(0, self._until_cut - len(data))
                    if not self._until_cut:
                        self.cut()
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()

    def cut_after(self, size_bytes: int) -> None:
        """Cut every connection as soon as clients have sent so much from now on."""
        self._until_cut = size_bytes

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def proxied(server: Server) -> AsyncIterator[Proxy]:
    proxy = Proxy(server.port)
    async with await asyncio.start_server(proxy.carry, "127.0.0.1", 0) as listener:
        proxy.port = listener.sockets[0].getsockname()[1]
        yield proxy
        proxy.cut()


ProxyTo = Callable[[Server], contextlib.AbstractAsyncContextManager[Proxy]]


@pytest.fixture(scope="session")
def proxy_to() -> ProxyTo:
    """Open a proxy in front of a server, in whatever event loop."""
    return proxied


@pytest.fixture(scope="session")
def serve_dev(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Server]]:
    """Start a server with the given settings beside the tests' own; it runs until the tests end."""
    with contextlib.ExitStack() as cleanup:

        def start(**settings: str) -> Server:
            folder = tmp_path_factory.mktemp("dev")
            valkey = cleanup.enter_context(EmbeddedValkey(folder / "valkey", persist=False))
            port = settings.pop("REALTIME_PORT", None) or _free_port()
            environment = {
                **{name: value for name, value in os.environ.items() if not name.startswith("REALTIME_")},
                "REALTIME_PORT": str(port),
                "REALTIME_DATA_DIR": str(folder / "data"),
                "REALTIME_REDIS_URL": valkey.url,
                "REALTIME_DEV_PROJECT": PROJECT,
                "REALTIME_DEV_KEY": KEY,
                "REALTIME_SECRET": SECRET,
                "REALTIME_DRAIN_WINDOW_S": "0.5",
                **settings,
            }
            log_file = folder / "dev.log"
            with log_file.open("wb") as log:
                process = subprocess.Popen(
                    [str(Path(sys.executable).parent / "realtime"), "dev"],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            server = Server(int(port), valkey.url, log_file, process)
            cleanup.callback(server.stop)
            server.wait_until_ready()
            return server

        yield start


@pytest.fixture(scope="session")
def server(serve_dev: Callable[..., Server]) -> Server:
    """The server that most of these tests share. The clients of all of them come from one address."""
    return serve_dev(REALTIME_CONNECTIONS_PER_MINUTE="0")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Show the server's log with a failure."""
    report = yield
    server = getattr(item, "funcargs", {}).get("server")
    if report.failed and isinstance(server, Server):
        report.sections.append(("realtime dev", server.log()[-10_000:]))
    return report


@pytest.fixture(scope="session")
def require() -> Callable[[bool, str], None]:
    """Skip a test whose tools are missing, and say which; in continuous integration that is a failure."""

    def check(condition: bool, reason: str) -> None:
        if condition:
            return
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}; nothing is skipped in continuous integration")
        pytest.skip(reason)

    return check


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
