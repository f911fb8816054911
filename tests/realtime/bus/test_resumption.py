"""The records by which subscriptions return, on a real Valkey."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio
from structlog.testing import capture_logs

from realtime.bus import connect, resumption
from realtime.bus.keys import resume_floor_key, resume_key
from realtime.bus.resumption import Holder, ResumeRecords

if TYPE_CHECKING:
    from tests.conftest import Proxy

ANN = Holder(1, "ann")
ANN_AGAIN = Holder(2, "ann")
BOB = Holder(3, "bob")
ID = "3f5b9c0d7a1e4f2b8c6d"

Start = Callable[..., contextlib.AbstractAsyncContextManager[ResumeRecords]]


@pytest.fixture
def start(redis_url: str) -> Start:
    """Return a function that runs the records of a hub."""

    @contextlib.asynccontextmanager
    async def run(hub_id: str = "hub", url: str = redis_url) -> AsyncIterator[ResumeRecords]:
        async with connect(url) as client, asyncio.TaskGroup() as tasks:
            records = ResumeRecords(client, hub_id=hub_id, lifetime_s=60, spawn=tasks.create_task)
            yield records

    return run


@pytest.fixture
async def records(start: Start) -> AsyncIterator[ResumeRecords]:
    async with start() as running:
        yield running


async def claim(records: ResumeRecords, holder: Holder, position: str = "9-0") -> str | None:
    (since,) = await records.claim("demo", [ID], holder, position)
    return since


class TestClaim:
    async def test_new_one_is_new(self, records: ResumeRecords) -> None:
        assert await claim(records, ANN) is None

    async def test_new_one_goes_on_from_where_it_began(self, records: ResumeRecords) -> None:
        await claim(records, ANN, "5-0")
        assert await claim(records, ANN_AGAIN) == "5-0"

    async def test_goes_on_from_where_it_was_let_go(self, records: ResumeRecords) -> None:
        await claim(records, ANN, "5-0")
        records.hold("demo", [ID], ANN, "7-1")
        assert await claim(records, ANN_AGAIN) == "7-1"

    async def test_goes_on_from_the_floor_of_a_hub_that_is_gone(self, start: Start) -> None:
        async with start("dead") as dead:
            await claim(dead, ANN, "5-0")
            dead.set_floor("demo", "10-0")
            await dead.flush(5)
        async with start("other") as other:
            other.set_floor("demo", "12-0")
            assert await claim(other, ANN_AGAIN) == "10-0"

    async def test_floor_from_before_it_began_does_not_count(self, records: ResumeRecords) -> None:
        records.set_floor("demo", "9-0")
        await records.flush(5)
        await claim(records, ANN, "10-0")
        assert await claim(records, ANN_AGAIN) == "10-0"

    @pytest.mark.parametrize(
        ("floor", "expected"), [("10-2", "10-10"), ("10-11", "10-11"), ("9-99", "10-10")]
    )
    async def test_positions_are_compared_as_numbers(
        self, records: ResumeRecords, floor: str, expected: str
    ) -> None:
        await claim(records, ANN, "10-10")
        records.set_floor("demo", floor)
        await records.flush(5)
        assert await claim(records, ANN_AGAIN) == expected

    async def test_replay_that_nobody_confirmed_is_due_again(self, records: ResumeRecords) -> None:
        await claim(records, ANN, "5-0")
        records.hold("demo", [ID], ANN, "5-0")
        assert await claim(records, ANN_AGAIN, "20-0") == "5-0"
        records.set_floor("demo", "20-0")
        await records.flush(5)
        assert await claim(records, ANN, "30-0") == "5-0"

    async def test_confirmed_replay_is_over(self, records: ResumeRecords) -> None:
        await claim(records, ANN, "5-0")
        await claim(records, ANN_AGAIN, "20-0")
        records.follow("demo", [ID], ANN_AGAIN, "20-0")
        assert await claim(records, ANN, "30-0") == "20-0"

    async def test_somebody_else_begins_anew_and_takes_nothing_away(self, records: ResumeRecords) -> None:
        await claim(records, ANN, "5-0")
        assert await claim(records, BOB, "6-0") is None
        assert await claim(records, ANN_AGAIN, "7-0") == "5-0"
        assert await claim(records, BOB, "7-0") is None

    async def test_claim_of_a_connection_that_is_gone_is_not_made(self, records: ResumeRecords) -> None:
        await claim(records, ANN, "5-0")
        assert await records.claim("demo", [ID], BOB, "6-0", lambda: False) == [None]
        assert await records.claim("demo", [ID], ANN_AGAIN, "6-0", lambda: False) == [None]
        records.hold("demo", [ID], ANN, "7-0")
        assert await claim(records, ANN_AGAIN) == "7-0"

    async def test_said_again_answers_the_same(self, records: ResumeRecords) -> None:
        """The answer may be lost, and then the same is asked again."""
        await claim(records, ANN, "5-0")
        assert await claim(records, ANN, "6-0") is None
        assert await claim(records, ANN_AGAIN) == "5-0"
        assert await claim(records, ANN_AGAIN) == "5-0"

    async def test_many_are_claimed_in_the_order_given(self, records: ResumeRecords) -> None:
        ids = [f"subscription-{number:04}" for number in range(600)]
        for number, each in enumerate(ids, 1):
            records.hold("demo", [each], ANN, f"{number}-0")
        since = await records.claim("demo", ids, ANN_AGAIN, "9999-0")
        assert since == [f"{number}-0" for number in range(1, 601)]


class TestWrites:
    @pytest.mark.parametrize("write", ["hold", "follow", "forget"])
    async def test_who_lost_it_writes_no_more(self, records: ResumeRecords, write: str) -> None:
        await claim(records, ANN, "5-0")
        await claim(records, ANN_AGAIN)
        records.follow("demo", [ID], ANN_AGAIN, "20-0")
        if write == "forget":
            records.forget("demo", [ID], ANN)
        else:
            getattr(records, write)("demo", [ID], ANN, "6-0")
        assert await claim(records, Holder(4, "ann")) == "20-0"

    async def test_what_is_said_while_the_word_before_is_on_its_way_is_written_too(
        self, records: ResumeRecords, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await claim(records, ANN, "5-0")
        run = records._script

        async def run_slowly(**options: Any) -> Any:
            answers = await run(**options)
            monkeypatch.undo()
            records.hold("demo", [ID], ANN, "8-0")
            records.set_floor("demo", "12-0")
            return answers

        monkeypatch.setattr(records, "_script", run_slowly)
        records.hold("demo", [ID], ANN, "7-0")
        records.set_floor("demo", "11-0")
        await records.flush(5)
        assert await claim(records, ANN_AGAIN) == "8-0"
        records.follow("demo", [ID], ANN_AGAIN, "8-0")
        assert await claim(records, ANN) == "12-0"

    async def test_forgotten_one_is_new_again(
        self, records: ResumeRecords, redis_client: redis.asyncio.Redis
    ) -> None:
        await claim(records, ANN)
        records.forget("demo", [ID], ANN)
        await records.flush(5)
        assert not await redis_client.exists(resume_key("demo", "ann", ID))
        records.forget("demo", [ID], ANN)
        await records.flush(5)
        assert not await redis_client.exists(resume_key("demo", "ann", ID))

    async def test_everything_ends_after_its_lifetime(
        self, records: ResumeRecords, redis_client: redis.asyncio.Redis
    ) -> None:
        await claim(records, ANN)
        records.set_floor("demo", "5-0")
        await records.flush(5)
        for key in (resume_key("demo", "ann", ID), resume_floor_key("demo", "hub")):
            assert 0 < await redis_client.pttl(key) <= 60_000

    async def test_renewed_record_lives_on(
        self, records: ResumeRecords, redis_client: redis.asyncio.Redis
    ) -> None:
        await claim(records, ANN)
        await redis_client.pexpire(resume_key("demo", "ann", ID), 1000)
        records.renew("demo", [ID], "ann")
        await records.flush(5)
        assert await redis_client.pttl(resume_key("demo", "ann", ID)) > 1000

    async def test_record_that_expired_meanwhile_is_written_anew(
        self, records: ResumeRecords, redis_client: redis.asyncio.Redis
    ) -> None:
        await claim(records, ANN)
        await redis_client.delete(resume_key("demo", "ann", ID))
        records.hold("demo", [ID], ANN, "8-0")
        assert await claim(records, ANN_AGAIN) == "8-0"

    @pytest.mark.parametrize("record", ["something else", "hub:1 from nowhere", "hub:1 from 5", ""])
    async def test_unreadable_record_is_taken_for_none(
        self, records: ResumeRecords, redis_client: redis.asyncio.Redis, record: str
    ) -> None:
        records.set_floor("demo", "9-0")
        await records.flush(5)
        await redis_client.set(resume_key("demo", "ann", ID), record)
        assert await claim(records, ANN) is None
        assert await claim(records, ANN_AGAIN) == "9-0"

    async def test_record_of_another_type_is_taken_for_none(
        self, records: ResumeRecords, redis_client: redis.asyncio.Redis
    ) -> None:
        await redis_client.rpush(resume_key("demo", "ann", ID), "something else")
        assert await claim(records, ANN) is None
        assert await claim(records, ANN_AGAIN) == "9-0"

    async def test_unreadable_floor_is_taken_for_none(
        self, records: ResumeRecords, redis_client: redis.asyncio.Redis
    ) -> None:
        await claim(records, ANN, "5-0")
        await redis_client.set(resume_floor_key("demo", "hub"), "nowhere")
        assert await claim(records, ANN_AGAIN) == "5-0"


class TestBatches:
    async def test_floor_is_written_after_all_that_was_said_before(
        self, records: ResumeRecords, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A hub that dies in between must not leave a floor beyond what somebody is still to get."""
        run, batches = records._script, []

        async def note(**options: Any) -> Any:
            batches.append("floor" in options["args"])
            return await run(**options)

        monkeypatch.setattr(records, "_script", note)
        records.hold("demo", [f"subscription-{number:04}" for number in range(600)], ANN, "7-0")
        records.set_floor("demo", "20-0")
        await records.flush(5)
        assert batches == [False, False, True]

    async def test_flush_waits_for_every_project(
        self, records: ResumeRecords, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run, may_go_on = records._script, asyncio.Event()

        async def wait(**options: Any) -> Any:
            if ":slow:" in options["keys"][0]:
                await may_go_on.wait()
            return await run(**options)

        monkeypatch.setattr(records, "_script", wait)
        records.hold("slow", [ID], ANN, "7-0")
        records.hold("demo", [ID], ANN, "7-0")
        with capture_logs() as lines:
            await records.flush(0.1)
        assert [line["projects"] for line in lines] == [1]

        may_go_on.set()
        with capture_logs() as lines:
            await records.flush(5)
        assert not lines

    async def test_no_more_claims_than_a_bound_wait(
        self, records: ResumeRecords, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run, may_go_on = records._script, asyncio.Event()

        async def wait(**options: Any) -> Any:
            await may_go_on.wait()
            return await run(**options)

        monkeypatch.setattr(resumption, "_MAX_CLAIMS", 2)
        monkeypatch.setattr(records, "_script", wait)
        waiting = [asyncio.create_task(claim(records, holder)) for holder in (ANN, BOB)]
        await asyncio.sleep(0)
        # One too many must fail this test, not hang it.
        asyncio.get_running_loop().call_later(2, may_go_on.set)
        with pytest.raises(redis.RedisError):
            await claim(records, ANN_AGAIN)

        may_go_on.set()
        assert await asyncio.gather(*waiting) == [None, None]
        assert await claim(records, ANN_AGAIN) == "9-0"


class TestOutage:
    async def test_waits_for_redis_and_goes_on(self, start: Start, proxy: "Proxy") -> None:
        async with start(url=proxy.url) as records:
            assert await claim(records, ANN, "5-0") is None
            proxy.refuse()
            records.hold("demo", [ID], ANN, "7-0")
            waiting = asyncio.create_task(claim(records, ANN_AGAIN))
            accepted = proxy.accepted
            async with asyncio.timeout(10):
                while proxy.accepted < accepted + 2:  # noqa: ASYNC110 - the proxy has no event for that
                    await asyncio.sleep(0.01)
            assert not waiting.done()
            proxy.accept()
            assert await waiting == "7-0"

    async def test_lost_answer_changes_nothing(self, start: Start, proxy: "Proxy") -> None:
        async with start(url=proxy.url) as records:
            await claim(records, ANN, "5-0")
            proxy.lose_next_reply()
            assert await claim(records, ANN_AGAIN, "6-0") == "5-0"
