"""A real hub on a real port with a real Valkey behind it, and clients that speak plain WebSocket."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from realtime.publisher import Published, Publisher
from websockets.asyncio.client import ClientConnection, connect

from realtime.hub.hub import Hub
from realtime.hub.server import Server, bind, hub_app, uvicorn_config
from realtime.identity.jwt import mint
from realtime.identity.model import ApiKey, Platform, Project, Session, User
from realtime.identity.secrets import encode_session, hash_secret
from realtime.settings import Settings

SECRET = "a secret of the tests, long enough for HS256"
DEADLINE_S = 10.0


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

    async def subscribe(self, *channels: str, id: str = "s", queries: Sequence[str] = ()) -> dict[str, Any]:  # noqa: A002
        """Subscribe under one ID and return the response's ``data``."""
        item = {"subscriptionId": id, "channels": list(channels), "queries": list(queries)}
        frame = await self.ask("subscribe", [item])
        assert frame["type"] == "response", frame
        data: dict[str, Any] = frame["data"]
        return data

    async def assert_silent(self) -> None:
        """Check that nothing is on its way: the very next frame is the answer to a ping."""
        assert await self.ask("ping") == {"type": "pong"}

    async def closed(self) -> int | None:
        """Wait for the end of the connection and return its close code."""
        async with asyncio.timeout(DEADLINE_S):
            await self.socket.wait_closed()
        return self.socket.close_code


class RunningHub:
    """One hub that serves, with shortcuts for what tests do to it."""

    def __init__(self, hub: Hub, server: Server, port: int) -> None:
        self.hub = hub
        self.server = server
        self.port = port
        self.http = f"http://127.0.0.1:{port}"

    @contextlib.asynccontextmanager
    async def connect(
        self,
        project: str | None = "demo",
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        **parameters: str,
    ) -> AsyncIterator[Client]:
        """Connect; ``parameters`` and the raw ``query`` go into the URL. Nothing is received yet."""
        fields = ({"project": project} if project is not None else {}) | parameters
        url = f"ws://127.0.0.1:{self.port}/v1/realtime?{urlencode(fields, quote_via=quote)}&{query}"
        async with connect(
            url, additional_headers=headers, compression=None, open_timeout=DEADLINE_S
        ) as socket:
            yield Client(socket)

    @contextlib.asynccontextmanager
    async def greeted(self, project: str = "demo", **options: Any) -> AsyncIterator[Client]:
        """Connect, and take the ``connected`` frame."""
        async with self.connect(project, **options) as client:
            frame = await client.receive()
            assert frame["type"] == "connected", frame
            yield client

    def token(self, sub: str, **claims: Any) -> str:
        """Return a JWT that carries its own identity."""
        return mint({"sub": sub, "exp": int(time.time()) + 600, **claims}, SECRET)

    async def add_user(self, user_id: str, *, project: str = "demo", **fields: Any) -> str:
        """Write a user with one session into the read model and return the session's value."""
        session = Session(
            id=f"{user_id}-session",
            secret_hash=hash_secret(f"secret-of-{user_id}"),
            provider="email",
            expires_at=time.time() + 3600,
        )
        fields.setdefault("sessions", (session,))
        await self.hub.store.put_user(project, User(id=user_id, **fields))
        return encode_session(user_id, f"secret-of-{user_id}")

    async def add_key(self, secret: str, *scopes: str, project: str = "demo") -> None:
        """Write an API key into the read model."""
        await self.hub.store.put_key(project, ApiKey(id=f"id-{secret}", scopes=scopes), secret)

    async def publish(self, name: str, payload: Mapping[str, Any], **options: Any) -> Published:
        """Publish an event of the project ``demo``."""
        async with Publisher(options.pop("project", "demo"), bus=self.hub.bus) as publisher:
            return await publisher.publish(name, payload, **options)


Start = Callable[..., contextlib.AbstractAsyncContextManager[RunningHub]]


@pytest.fixture
def start_hub(redis_url: str) -> Start:
    """Return a function that runs a hub for the length of an ``async with``; its arguments are settings."""

    @contextlib.asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[RunningHub]:
        chosen = Settings(**{"redis_url": redis_url, "secret": SECRET, "drain_window_s": 0, **settings})
        listening = bind(chosen.host, 0)
        async with Hub.running(chosen) as hub:
            await hub.store.put_project(
                Project(id="demo", name="Demo", platforms=(Platform(type="web", hostname="app.example.com"),))
            )
            server = Server(uvicorn_config(chosen, hub_app(hub), hub))
            serving = asyncio.get_running_loop().create_task(server.serve(sockets=[listening]))
            running = RunningHub(hub, server, listening.getsockname()[1])
            async with httpx.AsyncClient() as http, asyncio.timeout(DEADLINE_S):
                await http.get(f"{running.http}/v1/health")
            try:
                yield running
            finally:
                server.should_exit = True
                await serving

    return start


@pytest.fixture
async def hub(start_hub: Start) -> AsyncIterator[RunningHub]:
    """A hub with the settings that tests have by default, and the project ``demo``."""
    async with start_hub() as running:
        yield running
