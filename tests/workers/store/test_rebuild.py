import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import delete, insert

from realtime.bus.keys import trigger_names_key
from realtime.identity.model import ApiKey, Project, User
from realtime.identity.secrets import hash_secret
from realtime.identity.store import IdentityStore
from realtime.triggers.store import TriggerStore
from workers.store import rebuild, tables
from workers.store.database import Database
from workers.store.rebuild import Rebuild
from workers.store.relay import Relay
from workers.store.store import Store

TIMES = {"created_at": "2026-01-01T00:00:00.000+00:00", "updated_at": "2026-01-01T00:00:00.000+00:00"}


def user_row(user_id: str, project_id: str = "demo", **members: Any) -> dict[str, Any]:
    return {
        "project_id": project_id,
        "id": user_id,
        "password_options": {},
        "password_history": [],
        "labels": [],
        "prefs": {},
        "mfa_recovery_codes": [],
        "registered_at": TIMES["created_at"],
        **TIMES,
        **members,
    }


def webhook_row(webhook_id: str) -> dict[str, Any]:
    return {
        "project_id": "demo",
        "id": webhook_id,
        "name": "Hook",
        "url": "https://example.com/",
        "events": ["users.*.create"],
        "tls": True,
        "secret": "sealed",
        **TIMES,
    }


@pytest.fixture(autouse=True)
def page(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few users are several pages."""
    monkeypatch.setattr(rebuild, "PAGE", 2)


async def fill(database: Database, user_ids: list[str], *, project_id: str = "demo") -> None:
    async with database.writing() as connection:
        await connection.execute(
            insert(tables.projects).values(id=project_id, name="Demo", disabled={}, policies={}, **TIMES)
        )
        await connection.execute(
            insert(tables.keys).values(
                project_id=project_id,
                id="k1",
                name="K",
                secret_hash=hash_secret("secret"),
                scopes=["*"],
                **TIMES,
            )
        )
        for user_id in user_ids:
            await connection.execute(insert(tables.users).values(**user_row(user_id, project_id)))


async def users_of(identities: IdentityStore) -> set[tuple[str, str]]:
    return {found async for found in identities.scan_users()}


class TestRun:
    async def test_read_model_that_is_empty_is_made_whole(
        self, database: Database, identities: IdentityStore, triggers: TriggerStore
    ) -> None:
        await fill(database, ["a", "b", "c", "d", "e"])
        await fill(database, ["a"], project_id="shop")
        advanced: list[int] = []
        run = Rebuild(database, identities, triggers)
        assert await run.count() == 6
        await run.run(advanced.append)
        assert advanced == [2, 2, 1, 1]
        assert await users_of(identities) == {*(("demo", each) for each in "abcde"), ("shop", "a")}
        project = await identities.get_project("demo")
        assert project is not None
        assert project.name == "Demo"
        assert await identities.get_key("shop", "secret") is not None
        assert run.refused == []

    async def test_what_sql_does_not_have_is_removed_and_what_differs_is_mended(
        self, database: Database, identities: IdentityStore, triggers: TriggerStore
    ) -> None:
        await fill(database, ["a"])
        await identities.put_user("demo", User(id="a", name="Old", labels=("admin",)))
        for number in range(5):
            await identities.put_user("demo", User(id=f"gone{number}"))
        await identities.put_key("demo", ApiKey(id="gone", scopes=("*",)), "stolen")
        await Rebuild(database, identities, triggers).run(lambda _: None)
        assert await users_of(identities) == {("demo", "a")}
        user = await identities.get_user("demo", "a")
        assert user is not None
        assert (user.name, user.labels) == ("", ())
        assert await identities.get_key("demo", "stolen") is None

    async def test_project_of_somebody_elses_backend_stays_as_it_is(
        self, database: Database, identities: IdentityStore, triggers: TriggerStore
    ) -> None:
        await fill(database, [])
        await identities.put_project(Project(id="theirs"))
        await identities.put_user("theirs", User(id="ada"))
        await identities.put_key("theirs", ApiKey(id="k"), "their-secret")
        await Rebuild(database, identities, triggers).run(lambda _: None)
        assert await users_of(identities) == {("theirs", "ada")}
        assert await identities.get_key("theirs", "their-secret") is not None

    async def test_record_that_the_read_model_refuses_is_told_and_passed_over(
        self, database: Database, identities: IdentityStore, triggers: TriggerStore
    ) -> None:
        await fill(database, ["a", "b", "c"])
        async with database.writing() as connection:
            await connection.execute(insert(tables.users).values(**user_row("d", labels=["no/label"])))
        run = Rebuild(database, identities, triggers)
        await run.run(lambda _: None)
        assert await users_of(identities) == {("demo", "a"), ("demo", "b"), ("demo", "c")}
        assert run.refused == ["'no/label' is not a valid ID, label or team role."]

    async def test_changes_meanwhile_are_not_undone(
        self, database: Database, identities: IdentityStore, triggers: TriggerStore, relay: Relay
    ) -> None:
        """Whatever order the two work in, the last word is that of SQL."""
        ids = [f"u{number}" for number in range(20)]
        await fill(database, ids)
        store = Store(database, relay)

        async def change() -> None:
            for user_id in ids[::2]:
                async with store.write(Project(id="demo")) as tx:
                    await tx.connection.execute(
                        delete(tables.users).where(
                            tables.users.c.project_id == "demo", tables.users.c.id == user_id
                        )
                    )
                    tx.change_user(user_id)

        await asyncio.gather(change(), Rebuild(database, identities, triggers).run(lambda _: None))
        assert await users_of(identities) == {("demo", each) for each in ids[1::2]}

    async def test_names_that_an_older_release_did_not_count_are_counted(
        self, database: Database, identities: IdentityStore, triggers: TriggerStore, redis_client: Redis
    ) -> None:
        await fill(database, [])
        async with database.writing() as connection:
            await connection.execute(insert(tables.webhooks).values(**webhook_row("w1")))
        run = Rebuild(database, identities, triggers)
        await run.run(lambda _: None)
        names = trigger_names_key("demo", "webhooks")
        assert await redis_client.exists(names)
        await redis_client.delete(names)
        await run.run(lambda _: None)
        assert await redis_client.exists(names)
