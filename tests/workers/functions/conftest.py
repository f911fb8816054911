"""What the tests of running functions share: a store without a relay, functions in it, and an executor."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import sqlalchemy as sa

from realtime.settings import Settings
from workers.functions.executor import Call, Outcome
from workers.store.database import open_database
from workers.store.sealing import Sealer
from workers.store.store import Store
from workers.store.tables import deployments, executions, functions

NOW = "2026-03-01T12:00:00.000+00:00"


class _Unpublished:
    """In place of the relay: what is in the outbox stays there."""

    def wake(self, project_id: str) -> None:
        pass

    async def flush(self, project_id: str) -> bool:
        return True


class CountingExecutor:
    """Runs nothing; while it is held, calls wait."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.duration_s = 0.0
        # How many calls of each function are being run, and how many were at most.
        self.running: dict[str, int] = {}
        self.most: dict[str, int] = {}

    async def execute(self, call: Call) -> Outcome:
        name = call.code.function_id
        self.calls.append(call)
        self.running[name] = self.running.get(name, 0) + 1
        self.most[name] = max(self.most.get(name, 0), self.running[name])
        try:
            await self.may_end.wait()
            await asyncio.sleep(self.duration_s)
        finally:
            self.running[name] -= 1
        return Outcome(200, logs="It ran.")


@pytest.fixture
def executor() -> CountingExecutor:
    return CountingExecutor()


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(["a-key-of-tests"])


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A store on each kind of database, whose outbox nobody reads."""
    database = open_database(Settings(database_url=database_url))
    yield Store(database, _Unpublished())
    await database.aclose()


@pytest.fixture
def put_function(store: Store) -> Callable[..., Awaitable[None]]:
    """Make a function with an active deployment, or without one."""

    async def put(
        function_id: str, *, project_id: str = "demo", deployed: bool = True, **columns: Any
    ) -> None:
        times = {"created_at": NOW, "updated_at": NOW}
        row = {
            "project_id": project_id,
            "id": function_id,
            "name": function_id,
            "runtime": "python-3.11",
            "execute": [],
            "events": [],
            "schedule": "",
            "timeout_s": 15,
            "enabled": True,
            "logging": True,
            "entrypoint": "main.py",
            "commands": "",
            "scopes": [],
            # IDs of deployments are unique in a project.
            "deployment_id": f"live-{function_id}" if deployed else None,
            **times,
            **columns,
        }
        deployment = {
            "project_id": project_id,
            "id": row["deployment_id"],
            "function_id": function_id,
            "status": "ready",
            "activate": True,
            "entrypoint": "main.py",
            "commands": "",
            "storage_key": "k",
            "size_bytes": 1,
            "build_logs": "",
            **times,
        }
        async with store.database.writing() as connection:
            await connection.execute(functions.insert(), row)
            if deployed:
                await connection.execute(deployments.insert(), deployment)

    return put


@pytest.fixture
def kept(store: Store) -> Callable[..., Awaitable[list[sa.RowMapping]]]:
    """Return the executions that the store has, in the order in which they were made."""

    async def read(**columns: Any) -> list[sa.RowMapping]:
        async with store.read() as connection:
            found = await connection.execute(sa.select(executions).filter_by(**columns).order_by("seq"))
            return list(found.mappings())

    return read
