"""The HTTP API as tests drive it: without a socket, on a real database and a real Valkey server.

Take the fixture ``api`` of ``tests/workers/api/conftest.py``, which yields an :class:`Api` on each kind of database.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import sqlalchemy as sa
from fastapi import FastAPI
from starlette.applications import Starlette

from realtime.bus import RedisBus, connect
from realtime.hub.http import routes
from realtime.hub.hub import Hub
from realtime.hub.server import Server, bind, uvicorn_config
from realtime.identity.jwt import TokenVerifier
from realtime.identity.model import Project
from realtime.identity.resolver import Resolver
from realtime.identity.secrets import hash_secret
from realtime.identity.store import IdentityStore
from realtime.settings import Settings
from workers.api.app import create_app
from workers.api.services import Services
from workers.store import tables

PROJECT = "demo"
KEY = "a-key-with-every-scope"
BASE_URL = "http://api.test"


@dataclass(frozen=True)
class Published:
    """An event as it stands in the log."""

    id: str
    """Its position there."""
    events: list[str]
    """Every name; the first has no wildcard."""
    channels: list[str]
    roles: list[str]
    payload: Any
    user_id: str | None
    permissions_changed: bool

    @property
    def name(self) -> str:
        return self.events[0]


class Api:
    """A running application with the project ``demo`` in it, which has the platform localhost."""

    def __init__(self, app: FastAPI, services: Services, server: httpx.AsyncClient) -> None:
        self.app = app
        self.services = services
        # A client with an API key that has every scope.
        self.server = server

    @property
    def settings(self) -> Settings:
        return self.services.settings

    def guest(self, **headers: str) -> httpx.AsyncClient:
        """Return a fresh browser: it names the project, and keeps its own cookies."""
        return _client(self.app, headers)

    def holder(self, secret: str) -> httpx.AsyncClient:
        """Return a client with the API key that has this secret."""
        return _client(self.app, {"X-Appwrite-Key": secret})

    async def add_key(self, *scopes: str) -> httpx.AsyncClient:
        """Make an API key with these scopes, and return a client that has it."""
        secret = f"key-for-{'-'.join(scopes)}"
        await _insert_key(self.services, hash_secret(secret), scopes)
        return self.holder(secret)

    async def published(self, project: str = PROJECT) -> list[Published]:
        """Return every event of the log, in order, after what is committed has been published."""
        assert await self.services.relay.flush(project)
        found: list[Published] = []
        after = "0-0"
        while events := (await self.services.bus.read_page(project, after)).events:
            after = events[-1][0]
            found += [_decode(event_id, message) for event_id, message in events]
        return found

    async def names(self) -> list[str]:
        """Return the first name of every event of the log, in order."""
        return [event.name for event in await self.published()]


@contextlib.asynccontextmanager
async def running_api(
    settings: Settings, *, is_first: bool = True, is_dispatching: bool = True
) -> AsyncIterator[Api]:
    """Run the API on the migrated database and the Redis of ``settings``, with the project in it.

    One that is not the first finds the project there. What waits to be executed is taken by it, as by
    `realtime functions`, if it is dispatching.
    """
    redis = connect(settings.redis_url)
    identities = IdentityStore(redis)
    services = Services.from_settings(
        settings,
        identities=identities,
        resolver=Resolver(identities, TokenVerifier.from_settings(settings), clock=time.time),
        bus=RedisBus.from_settings(settings, redis),
    )
    app = create_app(services=services)
    try:
        async with services.running(), contextlib.AsyncExitStack() as stack:
            if is_dispatching:
                await stack.enter_async_context(services.executions.dispatching())
            if is_first:
                await _insert_project(services)
            async with _client(app, {"X-Appwrite-Key": KEY}) as server:
                yield Api(app, services, server)
    finally:
        await redis.aclose()


@contextlib.asynccontextmanager
async def running_hub(settings: Settings) -> AsyncIterator[str]:
    """Run a hub on a free port and on the Redis of ``settings``; yield its endpoint."""
    listening = bind("127.0.0.1", 0)
    async with Hub.running(settings.model_copy(update={"drain_window_s": 0})) as hub:
        server = Server(uvicorn_config(settings, Starlette(routes=routes(hub)), hub))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            await serving


async def until_blocked(api: Api) -> None:
    """Wait until a statement waits for a lock, on PostgreSQL."""
    async with asyncio.timeout(10):
        while True:
            async with api.services.store.read() as connection:
                waiting = await connection.execute(
                    sa.text(
                        "SELECT count(*) FROM pg_stat_activity "
                        "WHERE wait_event_type = 'Lock' AND datname = current_database()"
                    )
                )
                if waiting.scalar_one():
                    return


def _client(app: FastAPI, headers: dict[str, str]) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url=BASE_URL,
        headers={"X-Appwrite-Project": PROJECT} | headers,
    )


async def _insert_project(services: Services) -> None:
    async with services.store.write(Project(id=PROJECT)) as tx:
        times = {"created_at": tx.now_text, "updated_at": tx.now_text}
        await tx.connection.execute(
            tables.projects.insert().values(id=PROJECT, name="Demo", disabled={}, policies={}, **times)
        )
        await tx.connection.execute(
            tables.platforms.insert().values(
                project_id=PROJECT, id="web", type="web", name="Web", hostname="localhost", **times
            )
        )
        tx.change_project()
    await _insert_key(services, hash_secret(KEY), ("*",))


async def _insert_key(services: Services, secret_hash: str, scopes: tuple[str, ...]) -> None:
    async with services.store.write(Project(id=PROJECT)) as tx:
        key_id = secret_hash[:20]
        await tx.connection.execute(
            tables.keys.insert().values(
                project_id=PROJECT,
                id=key_id,
                name="Test",
                secret_hash=secret_hash,
                scopes=list(scopes),
                created_at=tx.now_text,
                updated_at=tx.now_text,
            )
        )
        tx.change_key(key_id)


def _decode(event_id: str, message: bytes) -> Published:
    envelope = json.loads(message)
    data = envelope["data"]
    return Published(
        id=event_id,
        events=data["events"],
        channels=data["channels"],
        roles=envelope["roles"],
        payload=data["payload"],
        user_id=envelope.get("userId"),
        permissions_changed=envelope.get("permissionsChanged", False),
    )
