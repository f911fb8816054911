"""Counting the names of triggers that a release wrote which did not, and finding whom that concerns."""

from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import insert, update

from realtime.bus.keys import triggers_key
from realtime.triggers.store import TriggerStore
from workers.store import tables
from workers.store.database import Database
from workers.store.trigger_names import find_miscounted, recount_names

TIMES = {"created_at": "2026-01-01T00:00:00.000+00:00", "updated_at": "2026-01-01T00:00:00.000+00:00"}
WEBHOOK = {"id": "w1", "name": "Hook", "url": "https://example.com/", "tls": True, "secret": "", **TIMES}
FUNCTION = {
    "id": "f1",
    "name": "Resize",
    "runtime": "python-3.11",
    "execute": [],
    "schedule": "",
    "timeout_s": 15,
    "enabled": True,
    "logging": True,
    "entrypoint": "",
    "commands": "",
    "scopes": [],
    **TIMES,
}


@pytest.fixture
async def older(database: Database, redis_client: Redis) -> None:
    """What a release before the workers has left: 20 projects with a webhook, and one with a function only."""
    projects = [f"p{number}" for number in range(20)]
    async with database.writing() as connection:
        for project in projects:
            row = {**WEBHOOK, "project_id": project, "events": [f"users.{project}.create", "users.*.create"]}
            await connection.execute(insert(tables.webhooks).values(**row))
        row = {**FUNCTION, "project_id": "sums", "events": ["teams.*.create"]}
        await connection.execute(insert(tables.functions).values(**row))
    for project in projects:
        names = f'"users.{project}.create","users.*.create"'
        record = f'{{"id":"w1","name":"Hook","url":"https://example.com/","events":[{names}],"secret":"","tls":true}}'
        await put(redis_client, project, "webhook:w1", record)
    await put(
        redis_client,
        "sums",
        "function:f1",
        '{"id":"f1","name":"Resize","events":["teams.*.create"],"scopes":[]}',
    )


async def put(redis: Redis, project: str, name: str, record: str) -> None:
    answer: Any = redis.hset(triggers_key(project), name, record)
    await answer


@pytest.mark.usefixtures("older")
class TestRecountNames:
    async def test_names_of_every_project_are_counted_and_again_the_same(
        self, database: Database, triggers: TriggerStore
    ) -> None:
        for _ in range(2):
            await recount_names(database, triggers)
            for number in range(20):
                project = f"p{number}"
                names = await triggers.counted_names(project, "webhooks")
                assert names == {f"users.{project}.create": 1, "users.*.create": 1}
                assert await triggers.counted_names(project, "functions") == {}
            assert await triggers.counted_names("sums", "functions") == {"teams.*.create": 1}

    async def test_trigger_that_changes_afterwards_is_counted_once(
        self, database: Database, triggers: TriggerStore
    ) -> None:
        await recount_names(database, triggers)
        assert await triggers.delete("sums", "function", "f1")
        assert await triggers.counted_names("sums", "functions") == {}


@pytest.mark.usefixtures("older")
class TestFindMiscounted:
    async def test_projects_of_an_older_release_until_they_are_counted(
        self, database: Database, triggers: TriggerStore
    ) -> None:
        assert set(await find_miscounted(database, triggers)) == {*(f"p{each}" for each in range(20)), "sums"}
        await recount_names(database, triggers)
        assert await find_miscounted(database, triggers) == []

    async def test_trigger_that_an_older_release_changes_later(
        self, database: Database, triggers: TriggerStore, redis_client: Redis
    ) -> None:
        await recount_names(database, triggers)
        async with database.writing() as connection:
            is_mine = tables.functions.c.project_id == "sums"
            await connection.execute(
                update(tables.functions).where(is_mine).values(events=["users.*.create"])
            )
        await put(
            redis_client, "sums", "function:f1", '{"id":"f1","name":"Resize","events":["users.*.create"]}'
        )
        assert await find_miscounted(database, triggers) == ["sums"]
        await recount_names(database, triggers)
        assert await find_miscounted(database, triggers) == []

    async def test_trigger_that_redis_has_lost(
        self, database: Database, triggers: TriggerStore, redis_client: Redis
    ) -> None:
        await recount_names(database, triggers)
        await redis_client.flushall()
        assert "p7" in await find_miscounted(database, triggers)

    async def test_triggers_that_wait_for_nothing_are_not_missed(
        self, database: Database, triggers: TriggerStore
    ) -> None:
        async with database.writing() as connection:
            await connection.execute(update(tables.webhooks).values(enabled=False))
            await connection.execute(update(tables.functions).values(events=[]))
        assert await find_miscounted(database, triggers) == []
