"""A real hub on a real port with a real Valkey behind it, and clients that speak plain WebSocket.

Starting and stopping a hub takes a quarter of a second. So a file with many tests takes ``shared`` instead of
``hub``: the module's one hub, with a project of each test's own.
"""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import httpx
import pytest
import pytest_asyncio
import redis.asyncio
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import ClientConnection, connect

from realtime.hub.hub import Hub
from realtime.hub.limits import window_of
from realtime.hub.server import Server, bind, hub_app, uvicorn_config
from realtime.identity.jwt import mint
from realtime.identity.model import ApiKey, Platform, Project, Session, User
from realtime.identity.secrets import encode_session, hash_secret
from realtime.identity.store import IdentityStore
from realtime.publisher import Published, Publisher
from realtime.settings import Settings
from workers.embedded import EmbeddedValkey

SECRET = "a secret of the tests that is long enough for HS256"
DEADLINE_S = 10.0

T = TypeVar("T")

_project_numbers = itertools.count(1)


class Refusal(NamedTuple):
    """How a connection was refused: by which error, and by which close code."""

    code: int
    message: str
    close_code: int | None


class Client:
    """A client of the hub: frames out, frames in."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, message: object) -> None:
        """Send a message; bytes and str go out as they are."""
        await self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def receive(self) -> dict[str, Any]:
        """Return the next frame, decoded."""
        async with asyncio.timeout(DEADLINE_S):
            frame: dict[str, Any] = json.loads(await self.socket.recv())
        return frame

    async def receive_event(self) -> dict[str, Any]:
        """Return the ``data`` of the next frame, which must be an event."""
        frame = await self.receive()
        assert frame["type"] == "event", frame
        data: dict[str, Any] = frame["data"]
        return data

    async def ask(self, message_type: str, data: object = None) -> dict[str, Any]:
        """Send a message and return the next frame."""
        await self.send({"type": message_type} if data is None else {"type": message_type, "data": data})
        return await self.receive()

    async def subscribe(
        self,
        *channels: str,
        id: str = "s",  # noqa: A002
        queries: Sequence[str] = (),
        since: str | None = None,
    ) -> dict[str, Any]:
        """Subscribe under one ID and return the response's ``data``."""
        item: dict[str, Any] = {"subscriptionId": id, "channels": list(channels), "queries": list(queries)}
        if since is not None:
            item["since"] = since
        frame = await self.ask("subscribe", [item])
        assert frame["type"] == "response", frame
        data: dict[str, Any] = frame["data"]
        return data

    async def assert_silent(self) -> None:
        """Check that nothing is on its way: the very next frame is the answer to a message that takes its turn."""
        frame = await self.ask("unsubscribe", [{"subscriptionId": "nobody"}])
        assert frame["type"] == "response", frame
        assert frame["data"]["to"] == "unsubscribe"

    async def receive_waiting(self) -> list[dict[str, Any]]:
        """Return the frames that are on their way: all that come before the answer to a ping."""
        await self.send({"type": "ping"})
        frames = []
        while (frame := await self.receive()) != {"type": "pong"}:
            frames.append(frame)
        return frames

    async def refused(self) -> Refusal:
        """Return the error that comes next, and the close code that must follow it."""
        frame = await self.receive()
        assert frame["type"] == "error", frame
        assert list(frame["data"]) == ["code", "message"]
        return Refusal(frame["data"]["code"], frame["data"]["message"], await self.closed())

    async def closed(self) -> int | None:
        """Wait for the end of the connection and return its close code."""
        async with asyncio.timeout(DEADLINE_S):
            await self.socket.wait_closed()
        return self.socket.close_code


class Endpoint:
    """Where a hub serves, with shortcuts for clients: of ``project``, unless they name another."""

    def __init__(self, port: int, project: str = "demo") -> None:
        self.port = port
        self.project = project
        self.http = f"http://127.0.0.1:{port}"
        # What tokens are signed with.
        self.secret = SECRET

    @contextlib.asynccontextmanager
    async def connect(
        self,
        project: str | None = "",
        *,
        path: str = "/v1/realtime",
        query: str = "",
        headers: Mapping[str, str] | None = None,
        **parameters: str,
    ) -> AsyncIterator[Client]:
        """Connect; ``parameters`` and the raw ``query`` go into the URL. Nothing is received yet.

        The URL names the hub's project for ``""``, and none for None.
        """
        fields = ({"project": project or self.project} if project is not None else {}) | parameters
        url = f"ws://127.0.0.1:{self.port}{path}?{urlencode(fields, quote_via=quote)}&{query}"
        async with connect(
            url, additional_headers=headers, compression=None, open_timeout=DEADLINE_S
        ) as socket:
            yield Client(socket)

    @contextlib.asynccontextmanager
    async def greeted(self, project: str | None = "", **options: Any) -> AsyncIterator[Client]:
        """Connect, and take the ``connected`` frame."""
        async with self.connect(project, **options) as client:
            frame = await client.receive()
            assert frame["type"] == "connected", frame
            yield client

    async def greeting(self, project: str | None = "", **options: Any) -> dict[str, Any]:
        """Connect for a moment, and return the ``data`` of the ``connected`` frame."""
        async with self.connect(project, **options) as client:
            frame = await client.receive()
        assert frame["type"] == "connected", frame
        data: dict[str, Any] = frame["data"]
        return data

    async def user_of(self, project: str | None = "", **options: Any) -> str | None:
        """Connect for a moment, and return the ID of the user acted as; None for a guest."""
        user = (await self.greeting(project, **options))["user"]
        return user and str(user["$id"])

    async def refusal(self, project: str | None = "", **options: Any) -> Refusal:
        """Connect, and return how that is refused."""
        async with self.connect(project, **options) as client:
            return await client.refused()

    def token(self, sub: str, **claims: Any) -> str:
        """Return a JWT that carries its own identity."""
        return self.sign({"sub": sub, **claims})

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return a JWT with these claims, which lasts ten minutes unless they say otherwise."""
        return mint({"exp": int(time.time()) + 600, **claims}, SECRET)

    async def metrics(self) -> dict[str, float]:
        """Return every sample of ``/metrics`` by its name; a label's value follows behind a slash."""
        async with httpx.AsyncClient() as http:
            page = (await http.get(f"{self.http}/metrics")).text
        samples = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                samples["/".join([sample.name, *sample.labels.values()])] = sample.value
        return samples


class RunningHub(Endpoint):
    """One hub that serves in the test's own process, with shortcuts for what tests do to it."""

    def __init__(self, hub: Hub, server: Server, port: int, project: str = "demo") -> None:
        super().__init__(port, project)
        self.hub = hub
        self.server = server

    async def put_project(self, **fields: Any) -> None:
        """Write the record of the hub's project."""
        await self.hub.store.put_project(Project(id=self.project, **fields))

    async def add_user(self, user_id: str, *, project: str = "", **fields: Any) -> str:
        """Write a user with one session into the read model and return the session's value."""
        session = Session(
            id=f"{user_id}-session",
            secret_hash=hash_secret(f"secret-of-{user_id}"),
            provider="email",
            expires_at=time.time() + 3600,
        )
        fields.setdefault("sessions", (session,))
        await self.hub.store.put_user(project or self.project, User(id=user_id, **fields))
        return encode_session(user_id, f"secret-of-{user_id}")

    async def add_key(self, secret: str, *scopes: str, project: str = "", **fields: Any) -> None:
        """Write an API key into the read model."""
        key = ApiKey(id=f"id-{secret}", scopes=scopes, **fields)
        await self.hub.store.put_key(project or self.project, key, secret)

    async def publish(
        self, name: str, payload: Mapping[str, Any] | bytes, *, project: str = "", **options: Any
    ) -> Published:
        """Publish an event."""
        async with Publisher(project or self.project, bus=self.hub.bus) as publisher:
            return await publisher.publish(name, payload, **options)

    async def deliver(
        self, name: str, payload: Mapping[str, Any] | bytes, *, project: str = "", **options: Any
    ) -> Published:
        """Publish an event to a project with connections, and wait until the hub has dealt with it.

        Whoever receives it has it on the way then.
        """
        published = await self.publish(name, payload, project=project, **options)
        room = self.hub.registry.rooms[project or self.project]
        await self.until(lambda: room.position == published.id and room.backlog is None)
        return published

    async def in_one_window(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return the result of an attempt that began and ended in the same window of the rate limits."""
        while True:
            window = window_of(time.time())
            result = await attempt()
            if window_of(time.time()) == window:
                return result

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on the hub's own state holds, which nothing on the wire tells of."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110 - the hub has no event for each thing a test may wait for
                await asyncio.sleep(0.001)


class HubProcess(Endpoint):
    """A hub that serves in a process of its own, as in production."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        super().__init__(port)
        self.process = process
        self._log = log

    def logged(self) -> list[dict[str, Any]]:
        """Return the lines it has logged."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def logged_text(self) -> str:
        """Return what it has logged, as it is."""
        return self._log.read_text()

    async def ended(self) -> int:
        """Wait for the end of the process and return its exit code."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.process.wait()


Start = Callable[..., contextlib.AbstractAsyncContextManager[RunningHub]]
StartProcess = Callable[..., contextlib.AbstractAsyncContextManager[HubProcess]]

_PROGRAM = """
from realtime.hub.server import serve
from realtime.settings import Settings
serve(Settings(), ready=lambda: print("ready", flush=True))
"""


@contextlib.asynccontextmanager
async def _run(redis_url: str, **settings: Any) -> AsyncIterator[RunningHub]:
    """Run a hub with the project ``demo``."""
    chosen = Settings(**{"redis_url": redis_url, "secret": SECRET, "drain_window_s": 0, **settings})
    listening = bind(chosen.host, 0)
    async with Hub.running(chosen) as hub:
        server = Server(uvicorn_config(chosen, hub_app(hub), hub))
        serving = asyncio.get_running_loop().create_task(server.serve(sockets=[listening]))
        running = RunningHub(hub, server, listening.getsockname()[1])
        await running.put_project(name="Demo", platforms=(Platform(type="web", hostname="app.example.com"),))
        async with httpx.AsyncClient() as http, asyncio.timeout(DEADLINE_S):
            await http.get(f"{running.http}/v1/health")
        try:
            yield running
        finally:
            server.should_exit = True
            await serving


@pytest.fixture
def start_hub(redis_url: str) -> Start:
    """Return a function that runs a hub for the length of an ``async with``; its arguments are settings."""
    return lambda **settings: _run(**{"redis_url": redis_url} | settings)


@pytest.fixture
def start_process(
    redis_url: str, redis_client: redis.asyncio.Redis, free_port: Callable[[], int], tmp_path: Path
) -> StartProcess:
    """Return a function that runs a hub's process for the length of an ``async with``; its arguments are settings.

    It has the project ``demo``, and is killed if it is still there at the end.
    """

    @contextlib.asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[HubProcess]:
        port, log = free_port(), tmp_path / "log"
        chosen = {"redis_url": redis_url, "secret": SECRET, "port": port, **settings}
        environment = {f"REALTIME_{name.upper()}": str(value) for name, value in chosen.items()}
        await IdentityStore(redis_client).put_project(Project(id="demo"))
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _PROGRAM),
                env={**os.environ, **environment},
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(DEADLINE_S):
                assert await process.stdout.readline() == b"ready\n", log.read_text()
                # The port is open; who is answered knows that signals are heeded too.
                async with httpx.AsyncClient(timeout=DEADLINE_S) as http:
                    await http.get(f"http://127.0.0.1:{port}/v1/health")
            yield HubProcess(process, port, log)
        finally:
            # With what it started, if anything is left.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    return start


@pytest.fixture
async def hub(start_hub: Start) -> AsyncIterator[RunningHub]:
    """A hub with the settings that tests have by default, and the project ``demo``."""
    async with start_hub() as running:
        yield running


@pytest.fixture(scope="module")
def module_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """A server of the module's own, which no other test empties."""
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey"), persist=False) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_hub(
    request: pytest.FixtureRequest, module_valkey: EmbeddedValkey
) -> AsyncIterator[RunningHub]:
    """A hub for all tests of a module, with the settings in its ``HUB_SETTINGS``."""
    settings = {"connections_per_minute": 0, **getattr(request.module, "HUB_SETTINGS", {})}
    async with _run(module_valkey.url, **settings) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def shared(module_hub: RunningHub) -> RunningHub:
    """The hub of the module, with a new project for each test.

    The module's tests must run in its event loop: ``pytestmark = pytest.mark.asyncio(loop_scope="module")``.
    """
    project = f"project{next(_project_numbers)}"
    hub = RunningHub(module_hub.hub, module_hub.server, module_hub.port, project)
    await hub.put_project(platforms=(Platform(type="web", hostname="app.example.com"),))
    return hub
