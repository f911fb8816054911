"""Removing deliveries: what belongs to them goes too, and nothing else."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import ColumnElement, delete, insert, select, update

from realtime.settings import Settings
from workers.store import maintenance, tables
from workers.store.database import Database
from workers.store.deliveries import find_gone, remove_deliveries, remove_deliveries_and_events
from workers.store.maintenance import Maintenance
from workers.store.store import Store
from workers.store.times import to_text

NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
DAY = timedelta(days=1)


class Wake:
    """Tells nobody."""

    def wake(self, project_id: str) -> None:
        pass

    async def flush(self, project_id: str) -> bool:
        return True


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database, Wake())


async def put_webhook(store: Store, webhook_id: str, project_id: str = "demo") -> None:
    row = {
        "project_id": project_id, "id": webhook_id, "name": "W", "url": "u", "events": [], "tls": True,
        "secret": "", "created_at": to_text(NOW), "updated_at": to_text(NOW),
    }  # fmt: skip
    async with store.database.writing() as connection:
        await connection.execute(insert(tables.webhooks), row)


async def delete_webhooks(store: Store, *where: ColumnElement[bool]) -> None:
    async with store.database.writing() as connection:
        await connection.execute(delete(tables.webhooks).where(*where))


async def put(
    store: Store,
    event_id: str,
    *webhook_ids: str,
    project_id: str = "demo",
    status: str = "delivered",
    age: timedelta = timedelta(),
) -> None:
    """Record an event of some age, with a delivery and an attempt at it for each webhook."""
    at = to_text(NOW - age)
    event = {"names": ["a.b"], "actor_id": "", "payload": b"{}", "event_id": event_id, "created_at": at}
    async with store.database.writing() as connection:
        await connection.execute(insert(tables.webhook_events), event | {"project_id": project_id})
        found = await connection.execute(
            select(tables.webhooks.c.id, tables.webhooks.c.seq).where(
                tables.webhooks.c.project_id == project_id
            )
        )
        seqs = {row.id: row.seq for row in found}
        for webhook_id in webhook_ids:
            delivery_id = f"{event_id} {webhook_id}"
            await connection.execute(
                insert(tables.deliveries),
                {
                    "project_id": project_id, "id": delivery_id, "webhook_id": webhook_id,
                    "webhook_seq": seqs[webhook_id],
                    "event_id": event_id, "event": "a.b", "status": status, "attempts": 1, "round": 1,
                    "response_status": 200, "error": "", "due_at": at if status == "pending" else None,
                    "held": False, "created_at": at, "updated_at": at,
                },
            )  # fmt: skip
            await connection.execute(
                insert(tables.attempts),
                {
                    "project_id": project_id, "delivery_id": delivery_id, "number": 1, "started_at": at,
                    "duration_s": 0.1, "response_status": 200, "response": "", "error": "",
                },
            )  # fmt: skip


async def kept(store: Store, table: Any, column: str, project_id: str = "demo") -> set[str]:
    async with store.read() as connection:
        found = await connection.execute(select(table.c[column]).where(table.c.project_id == project_id))
        return set(found.scalars())


async def all_kept(store: Store, project_id: str = "demo") -> tuple[set[str], set[str]]:
    """Return the deliveries, which are those of which attempts are kept; and the events."""
    found = await kept(store, tables.deliveries, "id", project_id)
    assert await kept(store, tables.attempts, "delivery_id", project_id) == found
    return found, await kept(store, tables.webhook_events, "event_id", project_id)


class TestRemoveDeliveries:
    async def test_attempts_of_the_same_id_in_another_project_stay(self, store: Store) -> None:
        for project_id, webhook_id in (("demo", "a"), ("demo", "b"), ("other", "a")):
            await put_webhook(store, webhook_id, project_id)
        await put(store, "1", "a", "b")
        await put(store, "1", "a", project_id="other")
        async with store.database.writing() as connection:
            table = tables.deliveries
            found = await connection.execute(
                select(table.c.seq).where(table.c.project_id == "demo", table.c.webhook_id == "a")
            )
            await remove_deliveries(connection, found.scalars().all())
        assert await all_kept(store) == ({"1 b"}, {"1"})
        assert await all_kept(store, "other") == ({"1 a"}, {"1"})


class TestRemoveDeliveriesAndEvents:
    async def test_events_that_another_webhook_is_told_of_stay(self, store: Store) -> None:
        for project_id, webhook_id in (("demo", "a"), ("demo", "b"), ("other", "a")):
            await put_webhook(store, webhook_id, project_id)
        await put(store, "1", "a")
        await put(store, "2", "a", "b", status="pending")
        await put(store, "3", "a", project_id="other")
        async with store.database.writing() as connection:
            table = tables.deliveries
            found = await connection.execute(
                select(table.c.seq).where(table.c.project_id == "demo", table.c.webhook_id == "a")
            )
            await remove_deliveries_and_events(connection, found.scalars().all())
        assert await all_kept(store) == ({"2 b"}, {"2"})
        assert await all_kept(store, "other") == ({"3 a"}, {"3"})


class TestGone:
    KEEP = Settings(webhooks_delivered_max_age_s=0, webhooks_dead_max_age_s=0)

    async def test_what_deleted_webhooks_left_goes_in_batches_and_nothing_else(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(maintenance, "BATCH", 2)
        for project_id in ("demo", "other", "third"):
            for webhook_id in ("a", "b", "c"):
                await put_webhook(store, webhook_id, project_id)
            for number in range(5):
                await put(store, f"{number}", "a", "b", project_id=project_id)
            await put(store, "5", "b", status="pending", project_id=project_id)
            await put(store, "6", "c", status="dead", project_id=project_id)
        await delete_webhooks(store, tables.webhooks.c.project_id == "demo", tables.webhooks.c.id == "b")
        await delete_webhooks(store, tables.webhooks.c.project_id == "third")
        removed = await Maintenance(store, self.KEEP, clock=lambda: NOW).run()
        assert removed == {"deliveries": 6 + 12}
        of_a, of_b = {f"{number} a" for number in range(5)}, {f"{number} b" for number in range(6)}
        events = {f"{number}" for number in range(7)}
        assert await all_kept(store) == (of_a | {"6 c"}, events - {"5"})
        assert await all_kept(store, "other") == (of_a | of_b | {"6 c"}, events)
        assert await all_kept(store, "third") == (set(), set())
        assert await Maintenance(store, self.KEEP, clock=lambda: NOW).run() == {}

    async def test_webhooks_that_had_the_same_id_one_after_another(self, store: Store) -> None:
        for event_id in ("1", "2", "3"):
            await delete_webhooks(store, tables.webhooks.c.id == "a")
            await put_webhook(store, "a")
            await put(store, event_id, "a")
        assert await Maintenance(store, self.KEEP, clock=lambda: NOW).run() == {"deliveries": 2}
        assert await all_kept(store) == ({"3 a"}, {"3"})

    async def test_nothing_at_all_is_no_mistake(self, store: Store) -> None:
        async with store.read() as connection:
            assert await find_gone(connection) == []


class TestMaintenance:
    async def test_each_goes_at_its_age_and_the_event_with_the_last(self, store: Store) -> None:
        await put_webhook(store, "a")
        await put(store, "1", "a", age=8 * DAY)
        await put(store, "2", "a", age=6 * DAY)
        await put(store, "3", "a", status="dead", age=31 * DAY)
        await put(store, "4", "a", status="dead", age=8 * DAY)
        await put(store, "5", "a", status="pending", age=90 * DAY)
        removed = await Maintenance(store, Settings(), clock=lambda: NOW).run()
        assert await all_kept(store) == ({"2 a", "4 a", "5 a"}, {"2", "4", "5"})
        assert removed == {"deliveries": 2, "webhook_events": 2}

    async def test_zero_keeps_them(self, store: Store) -> None:
        await put_webhook(store, "a")
        await put(store, "1", "a", age=1000 * DAY)
        settings = Settings(webhooks_delivered_max_age_s=0, webhooks_dead_max_age_s=0)
        assert await Maintenance(store, settings, clock=lambda: NOW).run() == {}
        assert await all_kept(store) == ({"1 a"}, {"1"})

    async def test_event_of_a_webhook_that_was_purged_goes_when_it_is_old(self, store: Store) -> None:
        await put_webhook(store, "a")
        await put(store, "1", age=8 * DAY)
        await put(store, "2", age=6 * DAY)
        await Maintenance(store, Settings(), clock=lambda: NOW).run()
        assert await all_kept(store) == (set(), {"2"})

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    async def test_one_that_is_being_made_anew_stays(self, store: Store) -> None:
        await put_webhook(store, "a")
        await put(store, "1", "a", status="dead", age=31 * DAY)
        async with store.database.writing() as connection, asyncio.timeout(10):
            again = update(tables.deliveries).values(status="pending", updated_at=to_text(NOW))
            await connection.execute(again)
            assert await Maintenance(store, Settings(), clock=lambda: NOW).run() == {}
        assert await all_kept(store) == ({"1 a"}, {"1"})
