"""Webhooks and functions on their way from SQL to those who deliver and run them."""

from typing import Any

import pytest
from sqlalchemy import delete, insert, update

from realtime.identity.model import Project
from realtime.identity.store import IdentityStore
from realtime.triggers.model import FunctionTrigger, Webhook
from realtime.triggers.store import TriggerStore
from workers.store import tables
from workers.store.database import Database
from workers.store.rebuild import Rebuild
from workers.store.relay import Relay
from workers.store.store import Store, Transaction

DEMO = Project(id="demo")
TIMES = {"created_at": "2026-01-01T00:00:00.000+00:00", "updated_at": "2026-01-01T00:00:00.000+00:00"}


def webhook_row(webhook_id: str, **members: Any) -> dict[str, Any]:
    return {
        "project_id": "demo",
        "id": webhook_id,
        "name": "Hook",
        "url": "https://example.com/",
        "events": ["users.*.create"],
        "tls": True,
        "secret": "sealed",
        **TIMES,
        **members,
    }


def function_row(function_id: str, **members: Any) -> dict[str, Any]:
    return {
        "project_id": "demo",
        "id": function_id,
        "name": "Resize",
        "runtime": "python-3.11",
        "execute": [],
        "events": ["buckets.*.files.*.create"],
        "schedule": "0 * * * *",
        "timeout_s": 30,
        "enabled": True,
        "logging": True,
        "entrypoint": "",
        "commands": "",
        "scopes": ["files.read"],
        **TIMES,
        **members,
    }


WEBHOOK = Webhook("w1", "Hook", "https://example.com/", ("users.*.create",), "sealed", tls=True)
FUNCTION = FunctionTrigger(
    id="f1",
    name="Resize",
    events=("buckets.*.files.*.create",),
    schedule="0 * * * *",
    timeout_s=30,
    scopes=("files.read",),
)


@pytest.fixture
def store(database: Database, relay: Relay) -> Store:
    return Store(database, relay)


async def add(tx: Transaction, table: Any, row: dict[str, Any]) -> None:
    await tx.connection.execute(insert(table).values(**row))


class TestChange:
    async def test_webhook_is_known_when_the_block_ends(self, store: Store, triggers: TriggerStore) -> None:
        async with store.write(DEMO) as tx:
            await add(tx, tables.webhooks, webhook_row("w1"))
            tx.change_webhook("w1")
        assert (await triggers.read("demo")).webhooks == (WEBHOOK,)
        async with store.write(DEMO) as tx:
            await tx.connection.execute(update(tables.webhooks).values(enabled=False))
            tx.change_webhook("w1")
        assert [each.enabled for each in (await triggers.read("demo")).webhooks] == [False]
        async with store.write(DEMO) as tx:
            await tx.connection.execute(delete(tables.webhooks))
            tx.change_webhook("w1")
        assert (await triggers.read("demo")).webhooks == ()

    async def test_former_secret_is_known_with_the_time_it_ends(
        self, store: Store, triggers: TriggerStore
    ) -> None:
        former = {"former_secret": "older", "former_secret_until": "2026-01-02T03:04:05.500+00:00"}
        async with store.write(DEMO) as tx:
            await add(tx, tables.webhooks, webhook_row("w1") | former)
            tx.change_webhook("w1")
        (webhook,) = (await triggers.read("demo")).webhooks
        assert (webhook.former_secret, webhook.former_secret_until) == ("older", 1_767_323_045.5)

    async def test_function_is_known_when_the_block_ends(self, store: Store, triggers: TriggerStore) -> None:
        async with store.write(DEMO) as tx:
            await add(tx, tables.functions, function_row("f1"))
            tx.change_function("f1")
        assert (await triggers.read("demo")).functions == (FUNCTION,)
        async with store.write(DEMO) as tx:
            await tx.connection.execute(update(tables.functions).values(deployment_id="d1"))
            tx.change_function("f1")
        assert [each.deployment_id for each in (await triggers.read("demo")).functions] == ["d1"]
        async with store.write(DEMO) as tx:
            await tx.connection.execute(delete(tables.functions))
            tx.change_function("f1")
        assert (await triggers.read("demo")).functions == ()

    async def test_change_that_is_undone_is_not_known(self, store: Store, triggers: TriggerStore) -> None:
        async def fail() -> None:
            async with store.write(DEMO) as tx:
                await add(tx, tables.webhooks, webhook_row("w1"))
                tx.change_webhook("w1")
                raise KeyError

        with pytest.raises(KeyError):
            await fail()
        assert (await triggers.read("demo")).webhooks == ()

    async def test_others_of_the_project_and_other_projects_stay(
        self, store: Store, triggers: TriggerStore
    ) -> None:
        for project_id, webhook_id in (("demo", "w1"), ("demo", "w2"), ("shop", "w1")):
            async with store.write(Project(id=project_id)) as tx:
                await add(tx, tables.webhooks, webhook_row(webhook_id, project_id=project_id))
                tx.change_webhook(webhook_id)
        async with store.write(DEMO) as tx:
            of_demo = (tables.webhooks.c.project_id == "demo", tables.webhooks.c.id == "w1")
            await tx.connection.execute(delete(tables.webhooks).where(*of_demo))
            tx.change_webhook("w1")
        assert [each.id for each in (await triggers.read("demo")).webhooks] == ["w2"]
        assert [each.id for each in (await triggers.read("shop")).webhooks] == ["w1"]


class TestRebuild:
    async def test_what_sql_has_is_written_and_what_it_has_not_is_removed(
        self, database: Database, identities: IdentityStore, triggers: TriggerStore
    ) -> None:
        async with database.writing() as connection:
            project = {"id": "demo", "name": "Demo", "disabled": {}, "policies": {}, **TIMES}
            await connection.execute(insert(tables.projects).values(**project))
            await connection.execute(insert(tables.webhooks).values(**webhook_row("w1")))
            await connection.execute(insert(tables.functions).values(**function_row("f1")))
        for left in ("w1", "gone"):
            await triggers.put_webhook("demo", Webhook(left, "Old", "https://old.example/", (), "sealed"))
        await triggers.put_function("demo", FunctionTrigger(id="w1", name="Gone"))
        await triggers.put_webhook("theirs", WEBHOOK)
        await Rebuild(database, identities, triggers).run(lambda _: None)
        found = await triggers.read("demo")
        assert (found.webhooks, found.functions) == ((WEBHOOK,), (FUNCTION,))
        assert (await triggers.read("theirs")).webhooks == (WEBHOOK,)

    async def test_rebuilding_again_changes_nothing(
        self, database: Database, identities: IdentityStore, triggers: TriggerStore
    ) -> None:
        async with database.writing() as connection:
            project = {"id": "demo", "name": "Demo", "disabled": {}, "policies": {}, **TIMES}
            await connection.execute(insert(tables.projects).values(**project))
            await connection.execute(insert(tables.webhooks).values(**webhook_row("w1")))
        run = Rebuild(database, identities, triggers)
        await run.run(lambda _: None)
        before = await triggers.read("demo")
        await run.run(lambda _: None)
        assert await triggers.read("demo") == before
