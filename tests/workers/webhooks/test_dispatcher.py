"""Tests of delivering: what is due is attempted, what came of it is written down, and nobody is in another's way."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete

from workers.store.tables import attempts, deliveries, outbox, webhook_events, webhooks
from workers.store.times import to_unix
from workers.webhooks.dispatcher import DISABLED, EVENT_GONE

Until = Callable[[Callable[[], object]], Any]

AN_HOUR = (3600.0,)


class TestDelivering:
    async def test_what_is_due_is_delivered_and_logged(self, world: Any) -> None:
        await world.put_webhooks("a", "b")
        await world.record("1-0", "1-1")
        async with world.running():
            rows = await world.until_rows(4, deliveries, status="delivered")
        assert {(row["attempts"], row["response_status"], row["due_at"], row["held"]) for row in rows} == {
            (1, 200, None, False)
        }
        assert world.sender.events("a") == ["1-0", "1-1"]
        webhook_id, delivery = world.sender.seen[0]
        assert delivery.delivery_id == rows[0 if webhook_id == "a" else 1]["id"]
        assert (delivery.names[0], delivery.actor_id, delivery.payload, delivery.attempt) == (
            "teams.red.create",
            "ada",
            b'{"$id": "red"}',
            1,
        )
        logged = await world.rows(attempts, delivery_id=rows[0]["id"])
        assert [(each["number"], each["response_status"], each["response"]) for each in logged] == [
            (1, 200, "Thanks.")
        ]
        assert world.counted("delivered") == 4

    async def test_what_is_announced_is_delivered_at_once(
        self, world: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("workers.webhooks.dispatcher.POLL_INTERVAL_S", 3600.0)
        await world.put_webhooks("a")
        async with world.running() as delivering:
            await world.record("1-0", recording=world.recording(announce=delivering.announce))
            await world.until_rows(1, deliveries, status="delivered")

    async def test_what_is_not_due_waits(self, world: Any) -> None:
        await world.put_webhooks("a")
        await world.record("1-0")
        await world.change(deliveries, due_at="2999-01-01T00:00:00.000+00:00")
        await world.record("1-1")
        async with world.running():
            await world.until_rows(1, deliveries, status="delivered")
        assert world.sender.events("a") == ["1-1"]

    async def test_many_are_delivered_once_each_in_order(self, world: Any) -> None:
        await world.put_webhooks("a")
        ids = [f"{number}-0" for number in range(100, 400)]
        for start in range(0, 300, 60):
            await world.record(*ids[start : start + 60])
        async with world.running(endpoint_concurrency=1):
            await world.until_rows(300, deliveries, status="delivered")
        assert world.sender.events("a") == ids
        assert world.sender.most["a"] == 1


class TestFailures:
    async def test_failure_is_tried_again_by_the_schedule(self, world: Any) -> None:
        await world.put_webhooks("a")
        await world.record("1-0")
        world.sender.answer("a", 500, response="Oops")
        async with world.running(schedule_s=AN_HOUR):
            (row,) = await world.until_rows(1, deliveries, attempts=1, held=False)
        assert (row["status"], row["response_status"], row["round"]) == ("pending", 500, 1)
        assert 0.89 * 3600 < to_unix(row["due_at"]) - time.time() < 1.11 * 3600
        (webhook,) = await world.rows(webhooks)
        assert webhook["attempts"] == 1
        assert webhook["failing_since"] is not None
        assert webhook["logs"] == (
            "URL: https://endpoint.example/\nMethod: POST\nStatus code: 500\nBody: \nOops\n"
        )
        assert world.counted("retried") == 1

    async def test_success_after_failures_clears_them(self, world: Any) -> None:
        await world.put_webhooks("a")
        await world.record("1-0")
        world.sender.answer("a", 0, error="Nobody there.")
        async with world.running(schedule_s=(0.1, 0.1, 3600.0)):
            await world.until_rows(1, webhooks, attempts=2)
            world.sender.answer("a", 204)
            (row,) = await world.until_rows(1, deliveries, status="delivered")
            (webhook,) = await world.until_rows(1, webhooks, attempts=0)
        assert row["attempts"] == 3
        assert {delivery.delivery_id for _, delivery in world.sender.seen} == {row["id"]}
        assert [each["number"] for each in await world.rows(attempts)] == [1, 2, 3]
        assert webhook["failing_since"] is None
        assert "Nobody there." in webhook["logs"]

    async def test_end_of_the_schedule_is_a_dead_letter(self, world: Any) -> None:
        await world.put_webhooks("a")
        await world.record("1-0")
        world.sender.answer("a", 503)
        async with world.running(schedule_s=(0.01, 0.01)):
            (row,) = await world.until_rows(1, deliveries, status="dead")
        assert (row["attempts"], row["due_at"], row["response_status"]) == (3, None, 503)
        assert row["error"] == "The endpoint answered 503."
        assert world.counted("dead") == 1

    async def test_redelivery_begins_the_schedule_anew(self, world: Any) -> None:
        await world.put_webhooks("a")
        await world.record("1-0")
        world.sender.answer("a", 503)
        async with world.running(schedule_s=(0.01,)):
            await world.until_rows(1, deliveries, status="dead", attempts=2)
            await world.change(deliveries, status="pending", round=0, due_at="2026-01-01T00:00:00.000+00:00")
            await world.until_rows(1, deliveries, status="dead", attempts=4)
        assert [each["number"] for each in await world.rows(attempts)] == [1, 2, 3, 4]

    async def test_refused_target_is_a_dead_letter_and_no_failure_of_the_webhook(self, world: Any) -> None:
        await world.put_webhooks("a")
        await world.record("1-0")
        world.sender.answer("a", 0, error="Webhook target x rejected: private", refused=True)
        async with world.running():
            (row,) = await world.until_rows(1, deliveries, status="dead")
        assert row["error"] == "Webhook target x rejected: private"
        (webhook,) = await world.rows(webhooks)
        assert (webhook["attempts"], webhook["logs"]) == (0, "")
        assert world.counted("refused") == 1

    async def test_attempt_that_breaks_off_is_tried_again_and_no_failure_of_the_webhook(
        self, world: Any
    ) -> None:
        await world.put_webhooks("a")
        await world.record("1-0")
        world.sender.fail("a", RuntimeError("a mistake"))
        async with world.running(schedule_s=AN_HOUR):
            (row,) = await world.until_rows(1, deliveries, attempts=1, held=False)
        assert (row["status"], row["error"]) == ("pending", "The attempt broke off.")
        assert (await world.rows(webhooks))[0]["attempts"] == 0

    async def test_answer_that_cannot_be_stored_is_left_out(self, world: Any) -> None:
        await world.put_webhooks("a", "b")
        await world.record("1-0")
        world.sender.answer("a", 500, response="\ud800")
        async with world.running(schedule_s=AN_HOUR):
            await world.until_rows(1, deliveries, status="delivered", webhook_id="b")
            (row,) = await world.until_rows(1, deliveries, webhook_id="a", attempts=1, held=False)
        (logged,) = await world.rows(attempts, delivery_id=row["id"])
        assert (logged["response_status"], logged["response"]) == (500, "")


class TestDisabling:
    async def test_410_disables_at_once_and_says_so(self, world: Any) -> None:
        await world.put_project()
        await world.put_webhooks("a")
        await world.record("1-0")
        world.sender.answer("a", 410)
        async with world.running():
            await world.until_rows(1, webhooks, enabled=False)
        (row,) = await world.rows(deliveries)
        assert (row["status"], row["attempts"]) == ("dead", 1)
        records = await world.rows(outbox)
        assert any(b"webhooks.a.update.disabled" in bytes(each["body"]) for each in records)
        assert not any(b"sealed" in bytes(each["body"]) for each in records)

    async def test_failing_for_too_long_disables(self, world: Any) -> None:
        await world.put_project()
        await world.put_webhooks("a", "b", "c", attempts=2, failing_since="2026-01-01T00:00:00.000+00:00")
        await world.record("1-0")
        world.sender.answer("a", 500)
        world.sender.answer("b", 500)
        await world.change(webhooks, attempts=1)
        async with world.running(schedule_s=AN_HOUR, disable_attempts=2):
            (first, second) = await world.until_rows(2, webhooks, enabled=False)
        assert (first["id"], second["id"]) == ("a", "b")
        assert first["attempts"] == 2
        assert (await world.rows(webhooks, id="c"))[0]["attempts"] == 0

    @pytest.mark.parametrize(
        ("settings", "since"),
        [
            ({"disable_attempts": 3}, "2026-01-01T00:00:00.000+00:00"),
            ({"disable_attempts": 1, "disable_after_s": 0}, "2026-01-01T00:00:00.000+00:00"),
            ({"disable_attempts": 1}, None),
        ],
    )
    async def test_failing_too_seldom_or_not_for_long_does_not(
        self, world: Any, settings: dict[str, Any], since: str | None
    ) -> None:
        await world.put_project()
        await world.put_webhooks("a", attempts=1, failing_since=since)
        await world.record("1-0")
        world.sender.answer("a", 500)
        async with world.running(schedule_s=AN_HOUR, **settings):
            await world.until_rows(1, webhooks, attempts=2)
        assert (await world.rows(webhooks))[0]["enabled"]

    async def test_what_is_due_for_a_disabled_webhook_is_a_dead_letter(self, world: Any) -> None:
        await world.put_webhooks("a")
        await world.record("1-0", "1-1")
        await world.change(webhooks, enabled=False)
        async with world.running():
            rows = await world.until_rows(2, deliveries, status="dead")
        assert {(row["error"], row["attempts"]) for row in rows} == {(DISABLED, 0)}
        assert world.sender.seen == []
        assert world.counted("dead") == 2

    async def test_what_waits_for_a_webhook_that_is_gone_is_removed(self, world: Any) -> None:
        await world.put_webhooks("a")
        await world.record("1-0", "1-1")
        async with world.store.database.writing() as connection:
            await connection.execute(delete(webhooks))
        async with world.running():
            await world.until_rows(0, deliveries)
        assert world.sender.seen == []

    async def test_webhook_made_anew_is_not_sent_what_the_former_one_was_to_get(self, world: Any) -> None:
        await world.put_webhooks("a")
        await world.record("1-0")
        async with world.store.database.writing() as connection:
            await connection.execute(delete(webhooks))
        await world.put_webhooks("a")
        await world.record("1-1")
        async with world.running():
            await world.until_rows(1, deliveries)
            await world.until_rows(1, deliveries, status="delivered")
        assert world.sender.events("a") == ["1-1"]

    async def test_delivery_of_an_event_that_is_gone_is_a_dead_letter(self, world: Any) -> None:
        await world.put_webhooks("a")
        await world.record("1-0")
        async with world.store.database.writing() as connection:
            await connection.execute(delete(webhook_events))
        async with world.running():
            (row,) = await world.until_rows(1, deliveries, status="dead")
        assert (row["error"], row["attempts"], row["held"]) == (EVENT_GONE, 0, False)


class TestMoves:
    """The owner of a webhook gives it another URL while attempts at the former one are being made."""

    async def test_410_of_the_former_url_does_not_disable_and_the_present_one_is_asked(
        self, world: Any, until_true: Until
    ) -> None:
        await world.put_project()
        await world.put_webhooks("a", "b")
        gate = world.sender.shut("a")
        for each in ("a", "b"):
            world.sender.answer(each, 410)
        world.sender.answer("https://new.example/", 200)
        await world.record("1-0")
        async with world.running():
            await until_true(lambda: world.sender.running["a"] == 1)
            await world.until_rows(1, webhooks, enabled=False)
            await world.move("a")
            gate.set()
            (row,) = await world.until_rows(1, deliveries, status="delivered")
        assert (row["webhook_id"], row["attempts"]) == ("a", 2)
        assert [each["response_status"] for each in await world.rows(attempts, delivery_id=row["id"])] == [
            410,
            200,
        ]
        assert (world.counted("dead"), world.counted("retried"), world.counted("delivered")) == (1, 1, 1)
        (webhook,) = await world.rows(webhooks, id="a")
        assert (webhook["enabled"], webhook["attempts"], webhook["logs"]) == (True, 0, "")

    async def test_what_the_former_url_answers_says_nothing_of_the_webhook(
        self, world: Any, until_true: Until
    ) -> None:
        await world.put_webhooks("a", "b")
        since = "2026-03-01T12:00:00.000+00:00"
        for each in ("a", "b"):
            world.sender.answer(each, 500 if each == "a" else 200)
        gates = [world.sender.shut(each) for each in ("a", "b")]
        await world.record("1-0")
        async with world.running(schedule_s=AN_HOUR):
            await until_true(lambda: world.sender.running["a"] == world.sender.running["b"] == 1)
            await world.change(webhooks, url="https://new.example/", attempts=2, failing_since=since)
            for gate in gates:
                gate.set()
            await world.until_rows(2, deliveries, held=False, attempts=1)
        rows = await world.rows(webhooks)
        assert [(row["attempts"], row["failing_since"]) for row in rows] == [(2, since)] * 2

    async def test_the_new_url_is_tried_at_once(self, world: Any) -> None:
        await world.put_webhooks("a")
        world.sender.answer("a", 500)
        await world.record(*(f"1-{number}" for number in range(3)))
        async with world.running(schedule_s=AN_HOUR, breaker_failures=3, breaker_pause_s=3600.0):
            await world.until_rows(3, attempts)
            world.sender.answer("a", 200)
            await world.move("a")
            await world.record("2-0")
            await world.until_rows(1, deliveries, status="delivered")


class TestFairness:
    async def test_an_endpoint_that_never_answers_keeps_nobody_waiting(self, world: Any) -> None:
        others = [f"w{number}" for number in range(50)]
        await world.put_webhooks("slow")
        gate = world.sender.shut("slow")
        for start in range(0, 1000, 100):
            await world.record(*(f"1-{number}" for number in range(start, start + 100)))
        async with world.running():
            await world.until_rows(10, deliveries, held=True)
            await world.put_webhooks(*others)
            await world.record("2-0", "2-1")
            await world.until_rows(100, deliveries, status="delivered")
            assert world.sender.running["slow"] == world.sender.most["slow"] == 10
            gate.set()
            await world.until_rows(1100, deliveries, status="delivered")
        assert max(world.sender.most[other] for other in others) <= 10

    async def test_many_that_never_answer_leave_something_to_the_others_of_their_project(
        self, world: Any
    ) -> None:
        slow = [f"slow{number}" for number in range(4)]
        await world.put_webhooks(*slow)
        gates = [world.sender.shut(each) for each in slow]
        await world.record(*(f"1-{number}" for number in range(10)))
        async with world.running(concurrency=20, endpoint_concurrency=10):
            await world.until_rows(14, deliveries, held=True)
            await world.put_webhooks("quick")
            await world.record("2-0", "2-1")
            await world.until_rows(2, deliveries, status="delivered")
            for gate in gates:
                gate.set()
            await world.until_rows(42, deliveries, status="delivered")

    async def test_a_project_with_many_that_never_answer_leaves_a_quarter_to_the_others(
        self, world: Any
    ) -> None:
        slow = [f"slow{number}" for number in range(30)]
        await world.put_webhooks(*slow, project_id="evil")
        await world.put_webhooks("quick", project_id="nice")
        gates = [world.sender.shut(each) for each in slow]
        async with world.running(concurrency=20) as delivering:
            recording = world.recording(announce=delivering.announce)
            await world.record("1-0", project_id="evil", recording=recording)
            await world.until_rows(15, deliveries, held=True)
            await world.record("1-0", "1-1", project_id="nice", recording=recording)
            await world.until_rows(2, deliveries, status="delivered", project_id="nice")
            for gate in gates:
                gate.set()
            await world.until_rows(32, deliveries, status="delivered")

    async def test_dead_endpoint_is_left_alone_and_tried_with_a_single_request(self, world: Any) -> None:
        await world.put_webhooks("a")
        world.sender.answer("a", 500)
        await world.record(*(f"1-{number}" for number in range(20)))
        async with world.running(
            schedule_s=AN_HOUR, breaker_failures=3, breaker_pause_s=0.3, endpoint_concurrency=1
        ):
            await world.until_rows(3, attempts)
            await asyncio.sleep(0.1)
            assert len(world.sender.seen) == 3
            assert b"realtime_webhook_breakers_open 1.0" in world.metrics.render()
            await world.until_rows(4, attempts)
            world.sender.answer("a", 200)
            await world.until_rows(16, deliveries, status="delivered")


class TestSeveral:
    async def test_workers_share_and_never_attempt_the_same_at_once(self, world: Any) -> None:
        await world.put_webhooks("a", "b", "c")
        await world.record(*(f"1-{number}" for number in range(100)))
        async with world.running(), world.running(), world.running():
            await world.until_rows(300, deliveries, status="delivered")
        ids = [delivery.delivery_id for _, delivery in world.sender.seen]
        assert len(ids) == len(set(ids)) == 300
        assert len(await world.rows(attempts)) == 300

    async def test_what_a_dead_worker_held_is_attempted_again_when_its_lease_is_over(
        self, world: Any
    ) -> None:
        await world.put_webhooks("a")
        await world.record("1-0")
        await world.change(deliveries, held=True, attempts=1, due_at="2999-01-01T00:00:00.000+00:00")
        async with world.running():
            await asyncio.sleep(0.2)
            assert world.sender.seen == []
            await world.change(deliveries, due_at="2026-01-01T00:00:00.000+00:00")
            (row,) = await world.until_rows(1, deliveries, status="delivered")
        assert row["attempts"] == 2
        assert [each["number"] for each in await world.rows(attempts)] == [2]

    async def test_late_holder_does_not_undo_what_the_next_one_did(
        self, world: Any, until_true: Until
    ) -> None:
        await world.put_webhooks("a")
        await world.record("1-0")
        gate = world.sender.shut("a")
        world.sender.answer("a", 500)
        async with world.running(schedule_s=AN_HOUR):
            await until_true(lambda: world.sender.running["a"] == 1)
            # Somebody else took it over, since the lease was over.
            await world.change(deliveries, attempts=2, status="delivered", held=False, due_at=None)
            gate.set()
            await world.until_rows(1, attempts, number=1)
        (row,) = await world.rows(deliveries)
        assert (row["status"], row["attempts"], row["response_status"]) == ("delivered", 2, 0)


class TestStopping:
    async def test_what_is_being_sent_may_end_and_is_recorded(self, world: Any, until_true: Until) -> None:
        await world.put_webhooks("a")
        await world.record("1-0")
        gate = world.sender.shut("a")
        async with world.running():
            await until_true(lambda: world.sender.running["a"] == 1)
            asyncio.get_running_loop().call_later(0.1, gate.set)
        (row,) = await world.rows(deliveries)
        assert row["status"] == "delivered"

    async def test_what_does_not_end_is_given_back(
        self, world: Any, until_true: Until, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("workers.webhooks.dispatcher.STOP_TIMEOUT_S", 0.05)
        await world.put_webhooks("a")
        await world.record("1-0")
        world.sender.shut("a")
        async with world.running():
            await until_true(lambda: world.sender.running["a"] == 1)
        (row,) = await world.rows(deliveries)
        assert (row["status"], row["held"], row["attempts"]) == ("pending", False, 0)
        assert to_unix(row["due_at"]) <= time.time()
        assert world.sender.running["a"] == 0

    async def test_what_was_claimed_in_advance_is_given_back(self, world: Any, until_true: Until) -> None:
        await world.put_webhooks("a")
        # It is quick, so that some are claimed in advance; then it is not.
        await world.record("1-0")
        async with world.running(endpoint_concurrency=1):
            await world.until_rows(1, deliveries, status="delivered")
            gate = world.sender.shut("a")
            await world.record(*(f"2-{number}" for number in range(9)))
            await world.until_rows(5, deliveries, held=True)
            asyncio.get_running_loop().call_later(0.1, gate.set)
        rows = await world.rows(deliveries)
        assert {row["held"] for row in rows} == {False}
        assert [row["status"] for row in rows].count("delivered") == 2
        assert {row["attempts"] for row in rows if row["status"] == "pending"} == {0}

    async def test_what_was_claimed_in_advance_for_one_that_became_slow_is_given_back(
        self, world: Any
    ) -> None:
        await world.put_webhooks("a")
        await world.record("1-0")
        async with world.running(endpoint_concurrency=1):
            await world.until_rows(1, deliveries, status="delivered")
            gate = world.sender.shut("a")
            await world.record(*(f"2-{number}" for number in range(9)))
            await world.until_rows(5, deliveries, held=True)
            await world.until_rows(1, deliveries, held=True)
            gate.set()
            await world.until_rows(10, deliveries, status="delivered")
