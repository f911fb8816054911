"""People for the tests of presences. They are in Redis, so one kind of database is enough: it says who there is."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from realtime.identity.model import Project
from realtime.identity.secrets import encode_session, hash_secret
from tests.api import PROJECT, Api
from workers.api.people.users import create_user
from workers.models.users import show_user
from workers.store import tables

SignUp = Callable[[str], Awaitable[httpx.AsyncClient]]


@pytest.fixture
def database_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A migrated SQLite database that holds nothing."""
    path = tmp_path / "realtime.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def sign_up(api: Api) -> SignUp:
    """Make a user, and return a browser where they are logged in."""

    async def sign_up(name: str) -> httpx.AsyncClient:
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            await create_user(tx, user_id=name, email=f"{name}@example.com", name=name, show=show_user)
            await tx.connection.execute(
                tables.sessions.insert().values(
                    project_id=PROJECT,
                    id=f"session-{name}",
                    user_id=name,
                    provider="email",
                    secret_hash=hash_secret(name),
                    expires_at="2999-01-01T00:00:00.000+00:00",
                    agent={},
                    factors=["password"],
                    created_at=tx.now_text,
                    updated_at=tx.now_text,
                )
            )
            tx.change_user(name)
        return api.guest(**{"X-Appwrite-Session": encode_session(name, name)})

    return sign_up
