"""Commands that change projects, keys and what hubs know of them: in the database, and in Redis where it has them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
from typer.testing import CliRunner, Result

from realtime.bus import connect
from realtime.identity.model import ApiKey, Platform, Project, User
from realtime.identity.store import IdentityStore
from realtime.settings import Settings
from workers.cli import app
from workers.store.database import open_database
from workers.store.projects import find_project

T = TypeVar("T")
Realtime = Callable[..., Result]


@pytest.fixture
def realtime(redis_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Realtime:
    """Calls the command line on a database and a Redis that hold nothing."""
    monkeypatch.setenv("REALTIME_REDIS_URL", redis_url)
    monkeypatch.setenv("REALTIME_DATABASE_URL", database_url)

    def call(*arguments: str, exit_code: int = 0) -> Result:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == exit_code, result.output
        return result

    return call


def read_model(ask: Callable[[IdentityStore], Awaitable[T]]) -> T:
    """Ask the read model of the environment."""

    async def run() -> T:
        redis = connect(Settings().redis_url)
        try:
            return await ask(IdentityStore(redis))
        finally:
            await redis.aclose()

    return asyncio.run(run())


def is_in_database(project_id: str) -> bool:
    async def run() -> bool:
        database = open_database(Settings())
        try:
            async with database.reading() as connection:
                return await find_project(connection, project_id) is not None
        finally:
            await database.aclose()

    return asyncio.run(run())


class TestDatabase:
    def test_project_and_key_are_in_both_and_gone_from_both(self, realtime: Realtime) -> None:
        realtime("projects", "create", "shop", "--host", "a.example")
        realtime("projects", "allow", "shop", "--host", "b.example")
        realtime("projects", "allow", "shop", "--host", "a.example", "--remove")
        secret = realtime("keys", "create", "--project", "shop", "--scope", "*", "--ttl", "60").stdout.strip()
        assert is_in_database("shop")
        project = read_model(lambda store: store.get_project("shop"))
        assert project is not None
        assert [platform.hostname for platform in project.platforms] == ["b.example"]
        key = read_model(lambda store: store.get_key("shop", secret))
        assert key is not None
        assert key.expires_at is not None

        realtime("keys", "delete", key.id, "--project", "shop")
        assert read_model(lambda store: store.get_key("shop", secret)) is None
        realtime("projects", "delete", "shop")
        assert not is_in_database("shop")
        assert read_model(lambda store: store.get_project("shop")) is None

    def test_database_that_cannot_be_used_is_told(
        self, realtime: Realtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("REALTIME_DATABASE_URL", "postgresql://me:secret@127.0.0.1:1/realtime")
        result = realtime("projects", "create", "shop", exit_code=1)
        assert (
            "The database at postgresql+asyncpg://me:***@127.0.0.1:1/realtime cannot be used:"
            in result.stderr
        )
        monkeypatch.setenv("REALTIME_DATABASE_URL", "mysql://me:secret@h/d")
        result = realtime("projects", "create", "shop", exit_code=1)
        assert "REALTIME_DATABASE_URL must begin with" in result.stderr


class TestOwnBackend:
    """Somebody who runs hubs alone writes the read model; such projects never come into the database."""

    def test_project_that_only_redis_has_is_changed_there(self, realtime: Realtime) -> None:
        mine = Project(id="mine", platforms=(Platform(type="web", hostname="a"),))
        read_model(lambda store: store.put_project(mine))
        assert "exists already" in realtime("projects", "create", "mine", exit_code=1).stderr
        realtime("projects", "allow", "mine", "--host", "b")
        secret = realtime("keys", "create", "--project", "mine", "--scope", "*").stdout.strip()
        key = read_model(lambda store: store.get_key("mine", secret))
        assert key is not None
        assert realtime("projects", "list").stdout == "mine    a, b\n"
        realtime("keys", "delete", key.id, "--project", "mine")
        assert read_model(lambda store: store.get_key("mine", secret)) is None
        assert not is_in_database("mine")
        realtime("projects", "delete", "mine")
        assert read_model(lambda store: store.get_project("mine")) is None

    def test_key_that_only_redis_has_can_be_deleted(self, realtime: Realtime) -> None:
        realtime("projects", "create", "shop")
        read_model(lambda store: store.put_key("shop", ApiKey(id="k"), "their-secret"))
        realtime("keys", "delete", "k", "--project", "shop")
        assert read_model(lambda store: store.get_key("shop", "their-secret")) is None


class TestRebuild:
    def test_read_model_says_what_the_database_says(self, realtime: Realtime) -> None:
        realtime("projects", "create", "shop")
        read_model(lambda store: store.put_user("shop", User(id="gone")))
        result = realtime("identities", "rebuild")
        assert result.stdout == "rebuilt 1 project, 0 keys, 0 webhooks, 0 functions, 0 users\n"
        assert result.stderr == ""
        assert read_model(lambda store: store.get_user("shop", "gone")) is None
