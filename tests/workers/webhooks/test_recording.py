"""Tests of recording deliveries: each once, whatever happens, and no more than may wait."""

import asyncio
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from workers.store.tables import deliveries, webhook_events
from workers.webhooks.recording import TOO_MANY, delivery_id


class TestDeliveryId:
    def test_is_the_same_each_time_and_an_id_of_standard_webhooks(self) -> None:
        made = delivery_id(7, "demo", "1-0")
        assert made == delivery_id(7, "demo", "1-0")
        assert made.startswith("msg_")
        assert len(made) == 30
        assert "." not in made

    def test_differs_by_webhook_project_and_event(self) -> None:
        made = {
            delivery_id(*key) for key in [(1, "p", "1-0"), (2, "p", "1-0"), (1, "q", "1-0"), (1, "p", "1-1")]
        }
        assert len(made) == 4


class TestRecording:
    async def test_an_event_is_recorded_once_and_a_delivery_for_each_webhook(self, world: Any) -> None:
        numbers = await world.put_webhooks("a", "b")
        announced: list[int] = []
        await world.record("1-0", recording=world.recording(announce=announced.extend))
        (event,) = await world.rows(webhook_events)
        assert (event["names"][0], event["actor_id"], event["payload"]) == (
            "teams.red.create",
            "ada",
            b'{"$id": "red"}',
        )
        first, second = await world.rows(deliveries)
        assert (first["webhook_id"], second["webhook_id"]) == ("a", "b")
        assert [first["webhook_seq"], second["webhook_seq"]] == numbers == sorted(announced)
        assert first["id"] == delivery_id(numbers[0], "demo", "1-0") != second["id"]
        assert (first["status"], first["attempts"], first["event"]) == ("pending", 0, "teams.red.create")
        assert first["due_at"] is not None

    async def test_events_that_come_again_change_nothing(self, world: Any) -> None:
        await world.put_webhooks("a")
        await world.record("1-0", "1-1")
        await world.change(deliveries, status="delivered", due_at=None, attempts=1)
        await world.record("1-0", "1-1", "1-2")
        assert len(await world.rows(webhook_events)) == 3
        assert [row["status"] for row in await world.rows(deliveries)] == [
            "delivered",
            "delivered",
            "pending",
        ]

    async def test_two_at_once_record_each_once(self, world: Any) -> None:
        await world.put_webhooks("a", "b")
        ids = [f"{number}-0" for number in range(50)]
        await asyncio.gather(world.record(*ids), world.record(*reversed(ids)), world.record(*ids))
        assert len(await world.rows(deliveries)) == 100

    async def test_nobody_interested_records_nothing(self, world: Any) -> None:
        await world.put_webhooks("a")
        other = world.event("1-0", names=["users.ada.create", "users.*"])
        await world.recording().record([(other, world.indexes["demo"])])
        assert await world.rows(webhook_events) == []

    async def test_webhook_that_is_gone_gets_nothing(self, world: Any) -> None:
        await world.put_webhooks("a")
        world.indexes["other"] = world.indexes["demo"]
        await world.record("1-0", project_id="other")
        assert await world.rows(webhook_events) == []
        assert await world.rows(deliveries) == []

    async def test_failure_records_nothing(self, world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        await world.put_webhooks("a")
        recording = world.recording()

        async def fail(*_: object) -> int:
            raise OperationalError("", None, OSError())

        monkeypatch.setattr(recording, "_bury_excess", fail)
        with pytest.raises(OperationalError):
            await world.record("1-0", recording=recording)
        assert await world.rows(webhook_events) == []


class TestLimit:
    async def test_more_than_may_wait_are_dead_letters(self, world: Any) -> None:
        await world.put_webhooks("a", "b")
        recording = world.recording(max_pending=3)
        await world.record("1-0", "1-1", "1-2", "1-3", "1-4", recording=recording)
        rows = await world.rows(deliveries, webhook_id="a")
        assert [row["status"] for row in rows] == ["pending"] * 3 + ["dead"] * 2
        assert [row["error"] for row in rows[3:]] == [TOO_MANY, TOO_MANY]
        assert rows[4]["due_at"] is None
        assert world.counted("dead") == 4

    async def test_dead_letters_that_come_again_are_not_counted_again(self, world: Any) -> None:
        await world.put_webhooks("a")
        recording = world.recording(max_pending=3)
        await world.record("1-0", "1-1", "1-2", "1-3", "1-4", recording=recording)
        with capture_logs() as logs:
            await world.record("1-0", "1-1", "1-2", "1-3", "1-4", "1-5", recording=recording)
        assert [row["status"] for row in await world.rows(deliveries)] == ["pending"] * 3 + ["dead"] * 3
        assert world.counted("dead") == 3
        assert [line["dead_letters"] for line in logs] == [1]

    async def test_what_waits_already_is_counted(self, world: Any) -> None:
        await world.put_webhooks("a")
        await world.record("1-0", "1-1")
        await world.record("1-2", "1-3", recording=world.recording(max_pending=3))
        assert [row["status"] for row in await world.rows(deliveries)] == ["pending"] * 3 + ["dead"]

    async def test_what_is_over_makes_room(self, world: Any) -> None:
        await world.put_webhooks("a")
        recording = world.recording(max_pending=8)
        await world.record(*(f"1-{number}" for number in range(8)), recording=recording)
        await world.change(deliveries, status="delivered", due_at=None)
        await world.record("2-0", recording=world.recording(max_pending=8))
        assert (await world.rows(deliveries))[-1]["status"] == "pending"
