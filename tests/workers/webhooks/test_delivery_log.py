"""What is chosen out of the delivery log, and what becomes of it, on both databases."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.dialects import sqlite

from realtime.settings import Settings
from workers.store.database import Database, open_database
from workers.store.tables import attempts, deliveries, webhook_events, webhooks
from workers.store.times import to_text
from workers.webhooks import queue
from workers.webhooks.delivery_log import (
    Batch,
    Selection,
    count_redeliverable,
    count_selected,
    purge,
    redeliver,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DEAD = Selection("shop", status="dead")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with two webhooks, the second of which is disabled."""
    database = open_database(Settings(database_url=database_url))
    await insert(database, webhooks, webhook(1), webhook(2, enabled=False))
    yield database
    await database.aclose()


def webhook(seq: int, **columns: Any) -> dict[str, Any]:
    return {
        "seq": seq,
        "project_id": "shop",
        "id": f"w{seq}",
        "name": "Orders",
        "url": "https://93.184.216.34/",
        "events": ["users.*"],
        "tls": True,
        "secret": "sealed",
        "enabled": True,
        "created_at": to_text(NOW),
        "updated_at": to_text(NOW),
    } | columns


def delivery(number: int, **columns: Any) -> dict[str, Any]:
    return {
        "project_id": "shop",
        "id": f"d{number}",
        "webhook_id": "w1",
        "webhook_seq": 1,
        "event_id": f"{number}-0",
        "event": "users.7.create",
        "status": "dead",
        "attempts": 12,
        "round": 12,
        "response_status": 500,
        "error": "The endpoint answered 500.",
        "due_at": None,
        "held": False,
        "created_at": to_text(NOW - timedelta(minutes=number)),
        "updated_at": to_text(NOW),
    } | columns


async def insert(database: Database, table: Any, *rows: dict[str, Any]) -> None:
    async with database.writing() as connection:
        await connection.execute(table.insert(), list(rows))


async def ids(database: Database, *where: Any) -> list[str]:
    async with database.reading() as connection:
        found = await connection.execute(select(deliveries.c.id).where(*where).order_by(deliveries.c.seq))
        return list(found.scalars())


class TestRedeliver:
    async def test_steps_walk_through_all_of_it(self, database: Database) -> None:
        await insert(database, deliveries, *(delivery(number) for number in range(5)))
        steps, after_seq = [], 0
        while True:
            async with database.writing() as connection:
                step = await redeliver(connection, DEAD, NOW, after_seq=after_seq, limit=2)
            steps.append(step.changed)
            if step.last_seq is None:
                break
            after_seq = step.last_seq
        assert steps == [2, 2, 1]
        assert await ids(database, deliveries.c.status == "dead") == []

    async def test_whoever_delivers_finds_it_with_a_schedule_from_the_start(self, database: Database) -> None:
        await insert(database, deliveries, delivery(1), delivery(2, status="delivered"))
        async with database.writing() as connection:
            assert await queue.claim(connection, {1: 9}, NOW, lease_s=60) == []
            assert await redeliver(connection, DEAD, NOW) == Batch(1, None)
            (claimed,) = await queue.claim(connection, {1: 9}, NOW, lease_s=60)
        assert (claimed.id, claimed.attempts, claimed.round) == ("d1", 13, 0)

    async def test_what_is_being_attempted_is_left_to_whoever_does(self, database: Database) -> None:
        await insert(database, deliveries, delivery(1, status="pending", due_at=to_text(NOW)))
        selection = Selection("shop")
        async with database.writing() as connection:
            assert len(await queue.claim(connection, {1: 9}, NOW, lease_s=60)) == 1
        async with database.writing() as connection:
            assert await count_redeliverable(connection, selection) == 0
            assert (await redeliver(connection, selection, NOW)).changed == 0
            # It would be claimed a second time.
            assert await queue.claim(connection, {1: 9}, NOW, lease_s=60) == []

    async def test_disabled_and_former_webhooks_and_other_projects_are_left_out(
        self, database: Database
    ) -> None:
        await insert(
            database,
            deliveries,
            delivery(1),
            delivery(2, webhook_id="w2", webhook_seq=2),
            delivery(3, webhook_seq=9),
            delivery(4, project_id="other"),
        )
        async with database.writing() as connection:
            assert await count_selected(connection, DEAD) == 3
            assert await count_redeliverable(connection, DEAD) == 1
            assert (await redeliver(connection, DEAD, NOW)).changed == 1
        assert await ids(database, deliveries.c.status == "pending") == ["d1"]

    async def test_two_at_once_share_it(self, database: Database) -> None:
        await insert(database, deliveries, *(delivery(number) for number in range(20)))

        async def run() -> int:
            changed, after_seq = 0, 0
            while True:
                async with database.writing() as connection:
                    step = await redeliver(connection, DEAD, NOW, after_seq=after_seq, limit=3)
                changed += step.changed
                if step.last_seq is None:
                    return changed
                after_seq = step.last_seq

        # What one has locked the other passes over, so that no delivery is counted twice.
        assert sum(await asyncio.gather(run(), run())) == 20
        assert await ids(database, deliveries.c.status == "dead") == []


class TestPurge:
    async def test_attempts_go_too_and_those_of_others_stay(self, database: Database) -> None:
        await insert(database, deliveries, delivery(1), delivery(2, status="delivered"))
        made = {"project_id": "shop", "started_at": to_text(NOW), "duration_s": 0.1}
        made |= {"response_status": 500, "response": "", "error": ""}
        await insert(
            database,
            attempts,
            *(made | {"delivery_id": each, "number": number} for each in ("d1", "d2") for number in (1, 2)),
            made | {"delivery_id": "d1", "number": 1, "project_id": "other"},
        )
        async with database.writing() as connection:
            assert await purge(connection, DEAD) == Batch(1, None)
        async with database.reading() as connection:
            left = await connection.execute(select(attempts.c.project_id, attempts.c.delivery_id))
            assert {(project, of) for project, of in left} == {("shop", "d2"), ("other", "d1")}
        assert await ids(database) == ["d2"]

    async def test_event_is_left_to_maintenance(self, database: Database) -> None:
        event = {"project_id": "shop", "event_id": "1-0", "names": ["users.7.create"], "actor_id": ""}
        await insert(database, webhook_events, event | {"payload": b"{}", "created_at": to_text(NOW)})
        await insert(database, deliveries, delivery(1))
        async with database.writing() as connection:
            await purge(connection, DEAD)
            assert await connection.scalar(select(func.count()).select_from(webhook_events)) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestCost:
    """Dead letters are few, and what arrived is much: nothing that is asked of the former reads the latter."""

    @pytest.mark.parametrize(
        "selection",
        [DEAD, Selection("shop", webhook_ids=("w1",), status="dead", since=to_text(NOW))],
        ids=["project", "webhook"],
    )
    async def test_dead_letters_are_found_by_their_index(
        self, database: Database, selection: Selection
    ) -> None:
        asked = select(deliveries.c.seq).where(*selection.conditions())
        compiled = asked.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
        async with database.reading() as connection:
            plan = (await connection.execute(text(f"EXPLAIN QUERY PLAN {compiled}"))).all()
        assert "ix_deliveries_dead" in str(plan)
