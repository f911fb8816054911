"""Tests of what attempts make of webhooks, in the store."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import true

from workers.store.tables import webhooks
from workers.webhooks.disabling import disable
from workers.webhooks.ends import Ended
from workers.webhooks.outcomes import Outcome, Verdict
from workers.webhooks.queue import Claimed, claim
from workers.webhooks.recorder import WebhookKey, fails_for_long, find_failing, record
from workers.webhooks.sending import AttemptResult

URL = "https://endpoint.example/"
SINCE = "2026-03-01T12:00:00.000+00:00"


def _worked(claimed: Claimed, url: str = URL) -> Ended:
    return Ended(claimed, url, AttemptResult(time.time(), 0.1, 200), Outcome("delivered", Verdict.WORKS), "")


def _failed(claimed: Claimed, url: str = URL) -> Ended:
    result = AttemptResult(time.time(), 0.1, 500)
    return Ended(claimed, url, result, Outcome("pending", Verdict.FAILS, 5.0), "It failed.")


async def _claim(world: Any, *numbers: int) -> list[Claimed]:
    """Return two claimed deliveries of each webhook."""
    await world.record("1-0", "2-0")
    async with world.store.database.writing() as connection:
        claims = await claim(connection, dict.fromkeys(numbers, 2), datetime.now(UTC), 30)
    return sorted(claims, key=lambda each: each.webhook_seq)


class TestRecord:
    async def test_workers_that_tell_of_the_same_webhooks_do_not_wait_for_each_other_for_ever(
        self, world: Any
    ) -> None:
        numbers = await world.put_webhooks("a", "b")
        (a1, a2, b1, b2) = await _claim(world, *numbers)

        async def tell(*ended: Ended) -> None:
            async with world.store.database.writing() as connection:
                await record(connection, ended, datetime.now(UTC))

        for _ in range(10):
            await world.change(webhooks, attempts=3, failing_since=SINCE)
            await asyncio.gather(tell(_failed(a1), _worked(b1)), tell(_worked(a2), _failed(b2)))

    async def test_only_attempts_at_the_present_url_are_counted(self, world: Any) -> None:
        (number,) = await world.put_webhooks("a", attempts=1, failing_since=SINCE)
        (first, second) = await _claim(world, number)
        async with world.store.database.writing() as connection:
            former = "https://former.example/"
            await record(connection, [_failed(first), _worked(second, former)], datetime.now(UTC))
        (row,) = await world.rows(webhooks)
        assert (row["attempts"], row["failing_since"], row["logs"]) == (2, SINCE, "It failed.")

    async def test_success_clears_failures(self, world: Any) -> None:
        (number,) = await world.put_webhooks("a", attempts=1, failing_since=SINCE)
        (first, second) = await _claim(world, number)
        async with world.store.database.writing() as connection:
            await record(connection, [_failed(first), _worked(second)], datetime.now(UTC))
        (row,) = await world.rows(webhooks)
        assert (row["attempts"], row["failing_since"]) == (0, None)


class TestDisable:
    async def test_webhook_that_was_mended_after_it_was_found_is_left_as_it_is(self, world: Any) -> None:
        await world.put_project()
        (number,) = await world.put_webhooks("a", attempts=5, failing_since=SINCE)
        fails = fails_for_long(datetime.now(UTC) - timedelta(days=3), 5)
        async with world.store.read() as connection:
            (found,) = await find_failing(connection, [number], fails)
        assert found == WebhookKey(number, "demo", "a", URL)
        await world.change(webhooks, attempts=0, failing_since=None)
        assert not await disable(world.store, found, "It fails.", fails)
        assert (await world.rows(webhooks))[0]["enabled"]
        await world.change(webhooks, attempts=5, failing_since=SINCE)
        assert await disable(world.store, found, "It fails.", fails)
        assert not (await world.rows(webhooks))[0]["enabled"]

    @pytest.mark.parametrize(("url", "disabled"), [(URL, True), ("https://former.example/", False)])
    async def test_webhook_that_has_moved_is_left_as_it_is(
        self, world: Any, url: str, disabled: bool
    ) -> None:
        await world.put_project()
        (number,) = await world.put_webhooks("a")
        assert (
            await disable(world.store, WebhookKey(number, "demo", "a", url), "It is gone.", true())
            is disabled
        )
        assert (await world.rows(webhooks))[0]["enabled"] is not disabled
