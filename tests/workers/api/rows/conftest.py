"""What the tests of rows share: tables that are made without the routes for tables."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx
import pytest

from realtime.identity.model import Project
from realtime.identity.secrets import encode_session, hash_secret
from tests.api import PROJECT, Api
from workers.store import tables
from workers.store.row_tables import create_row_tables
from workers.store.schema import Column, Index, Schema, TableRecord, encode_schema

NOW = "2026-01-02T03:04:05.678+00:00"

MakeTable = Callable[..., Awaitable[None]]
Login = Callable[..., Awaitable[httpx.AsyncClient]]


def _column(number: int, key: str, type_: Any, **rest: Any) -> Column:
    return Column(number=number, key=key, type=type_, created_at=NOW, updated_at=NOW, **rest)


COLUMNS = (
    _column(1, "title", "string", size=64, required=True),
    _column(2, "votes", "integer", default=0, min=-5, max=100),
    _column(3, "score", "double"),
    _column(4, "done", "boolean", default=False),
    _column(5, "due", "datetime"),
    _column(6, "tags", "string", size=16, array=True),
    _column(7, "slug", "string", size=32),
)
INDEXES = (Index(number=8, key="slugs", type="unique", columns=("slug",), created_at=NOW, updated_at=NOW),)


@pytest.fixture
def make_table(api: Api) -> MakeTable:
    """Make a table, `posts` unless it is named otherwise, in the database `main`."""

    async def make(
        table_id: str = "posts",
        *,
        permissions: Sequence[str] = (),
        row_security: bool = False,
        enabled: bool = True,
        database_id: str = "main",
        database_type: str = "tablesdb",
        database_enabled: bool = True,
        columns: Sequence[Column] = COLUMNS,
        indexes: Sequence[Index] = INDEXES,
    ) -> None:
        schema = Schema(columns=tuple(columns), indexes=tuple(indexes), last_number=99)
        times = {"created_at": NOW, "updated_at": NOW}
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            found = await tx.connection.execute(
                tables.databases.select().where(tables.databases.c.id == database_id)
            )
            if found.first() is None:
                await tx.connection.execute(
                    tables.databases.insert().values(
                        project_id=PROJECT,
                        id=database_id,
                        name="Main",
                        enabled=database_enabled,
                        type=database_type,
                        **times,
                    )
                )
            inserted = await tx.connection.execute(
                tables.tables.insert()
                .values(
                    project_id=PROJECT,
                    database_id=database_id,
                    id=table_id,
                    name="Posts",
                    enabled=enabled,
                    row_security=row_security,
                    permissions=list(permissions),
                    schema=encode_schema(schema),
                    **times,
                )
                .returning(tables.tables.c.seq)
            )
            record = TableRecord(
                seq=inserted.scalar_one(),
                id=table_id,
                name="Posts",
                database_id=database_id,
                database_type=database_type,
                table_enabled=enabled,
                database_enabled=database_enabled,
                row_security=row_security,
                permissions=tuple(permissions),
                created_at=NOW,
                updated_at=NOW,
                schema=schema,
            )
            await create_row_tables(tx.connection, record)

    return make


@pytest.fixture
def login(api: Api) -> Login:
    """Make a user with a session, and return a client that is logged in as them."""

    async def make(user_id: str, *, labels: Sequence[str] = ()) -> httpx.AsyncClient:
        secret = f"secret-of-{user_id}".ljust(64, "0")
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            times = {"created_at": tx.now_text, "updated_at": tx.now_text}
            await tx.connection.execute(
                tables.users.insert().values(
                    project_id=PROJECT,
                    id=user_id,
                    labels=list(labels),
                    prefs={},
                    password_options={},
                    password_history=[],
                    mfa_recovery_codes=[],
                    registered_at=tx.now_text,
                    **times,
                )
            )
            await tx.connection.execute(
                tables.sessions.insert().values(
                    project_id=PROJECT,
                    id=f"session-{user_id}",
                    user_id=user_id,
                    provider="anonymous",
                    secret_hash=hash_secret(secret),
                    expires_at="2099-01-01T00:00:00.000+00:00",
                    agent={},
                    factors=["anonymous"],
                    **times,
                )
            )
            tx.change_user(user_id)
        return api.guest(**{"X-Appwrite-Session": encode_session(user_id, secret)})

    return make
