"""What every test may use: a real Valkey server, a way to break the connection to it, and free ports."""

import asyncio
import contextlib
import os
import shutil
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import redis
import redis.asyncio

from realtime.settings import Settings
from tests.postgres import Postgres
from tests.topologies import Cluster, Sentinels
from workers.embedded import EmbeddedValkey
from workers.store.database import open_database
from workers.store.migrate import migrate

hypothesis.settings.register_profile(
    "tests",
    # How long an example takes says how busy the machine is, and nothing about the code.
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    # Who waits for the continuous integration looks for one thing at a time.
    derandomize="CI" in os.environ,
)
hypothesis.settings.load_profile("tests")

_SERVERS = {"valkey", "module_valkey", "sentinels", "cluster", "postgres", "database_url"}
"""Fixtures that start a server; a test that starts one by itself is marked in its file."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let who works on the code have quick tests, and `make test` the long comparisons too."""
    parser.addoption(
        "--thorough", action="store_true", help="compare 100,000 random events with their oracle"
    )


@pytest.fixture(scope="session")
def random_runs(request: pytest.FixtureRequest) -> int:
    """How many times as much chance an oracle is fed as in a quick run."""
    return 5 if request.config.getoption("thorough") else 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is more than a unit test, so that nobody has to remember to."""
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker("e2e")
        elif not _SERVERS.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("integration")


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """The one server of a test run. Take `redis_url`, which is empty, unless the process itself matters."""
    data_dir: Path = tmp_path_factory.mktemp("valkey")
    with EmbeddedValkey(data_dir, persist=False) as server:
        yield server


@pytest.fixture
def redis_url(valkey: EmbeddedValkey) -> str:
    """The URL of a server that holds nothing."""
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
    return valkey.url


@pytest.fixture
async def redis_client(redis_url: str) -> AsyncIterator[redis.asyncio.Redis]:
    """An asyncio client of that server."""
    client = redis.asyncio.Redis.from_url(redis_url)
    yield client
    await client.aclose()


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[Sentinels]:
    """A master, its replica and three Sentinels, of this test alone: it may kill what it likes."""
    with Sentinels(tmp_path / "sentinels") as servers:
        yield servers


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three primaries and their replicas, of this test alone: it may kill what it likes."""
    with Cluster(tmp_path / "cluster") as servers:
        yield servers


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The one PostgreSQL server of a test run. Take `database_url`, unless the server itself matters."""
    with Postgres(_migrate) as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to be copied: a migrated SQLite database that holds nothing."""
    path: Path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a migrated database that holds nothing, the same each time; the test runs once on each kind."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        path = template.with_name("realtime.db")
        for left in path.parent.glob("realtime.db*"):
            left.unlink()
        shutil.copy(template, path)
        yield f"sqlite:///{path}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    yield server.url_of(server.lend())


def _migrate(url: str) -> None:
    async def run() -> None:
        database = open_database(Settings(database_url=url))
        try:
            await migrate(database)
        finally:
            await database.aclose()

    # In a thread, since the event loop of a test may be running.
    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    thread.join()


class Proxy:
    """A TCP proxy before the server's socket, through which tests inject faults."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._refusing = False
        self._losing = False
        # How many connections were made through it.
        self.accepted = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]

    async def aclose(self) -> None:
        assert self._server is not None
        self._refusing = True
        self._flowing.set()
        self._server.close()
        self.cut()
        await asyncio.gather(*self._handlers, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Break every open connection."""
        for writer in self._writers:
            writer.transport.abort()

    def refuse(self) -> None:
        """Break every open connection, and every new one."""
        self._refusing = True
        self.cut()

    def accept(self) -> None:
        """Let connections through again."""
        self._refusing = False

    def stall(self) -> None:
        """Keep connections open, but let nothing through: a half-open link."""
        self._flowing.clear()

    def flow(self) -> None:
        """Let everything through that was held up."""
        self._flowing.set()

    def lose_next_reply(self) -> None:
        """Let the next command reach the server, but break the connection before its answer comes back."""
        self._losing = True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._refusing:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        task.add_done_callback(self._handlers.discard)
        server_reader, server_writer = await asyncio.open_unix_connection(str(self._target))
        pair = {writer, server_writer}
        self._writers |= pair
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, server_writer, is_reply=False))
                group.create_task(self._pump(server_reader, writer, is_reply=True))
        finally:
            self._writers -= pair

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_reply: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                if is_reply and self._losing:
                    self._losing = False
                    self.cut()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@pytest.fixture
async def proxy(valkey: EmbeddedValkey, redis_url: str) -> AsyncIterator[Proxy]:
    """A breakable way to the server of `redis_url`."""
    breakable = Proxy(Path(valkey.url.removeprefix("unix://")))
    await breakable.start()
    yield breakable
    await breakable.aclose()


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Return a TCP port of 127.0.0.1 that nothing listens on; a different one at each call."""
    given: set[int] = set()

    def find() -> int:
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = int(probe.getsockname()[1])
            if port not in given:
                given.add(port)
                return port

    return find
