import asyncio

import pytest

from realtime.identity.shared import SharedReads


class Records:
    """Records whose reads take as long as the test wants."""

    def __init__(self) -> None:
        self.value = 0
        self.reads: list[str] = []
        self._may_answer = asyncio.Event()
        self.error: Exception | None = None

    async def read(self, key: str) -> int:
        self.reads.append(key)
        value = self.value
        await self._may_answer.wait()
        if self.error is not None:
            raise self.error
        return value

    def answer(self) -> None:
        self._may_answer.set()


@pytest.fixture
async def records() -> Records:
    return Records()


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(5):
        await asyncio.sleep(0)


class TestSharedReads:
    async def test_one_who_asks_alone_gets_the_record(self, records: Records) -> None:
        records.answer()
        assert await SharedReads(records.read).get("a") == 0
        assert records.reads == ["a"]

    async def test_all_who_ask_at_once_share_one_read(self, records: Records) -> None:
        shared = SharedReads(records.read)
        records.answer()
        assert await asyncio.gather(*(shared.get("a") for _ in range(10))) == [0] * 10
        assert records.reads == ["a"]

    async def test_who_asks_during_a_read_gets_what_is_true_after_they_asked(self, records: Records) -> None:
        shared = SharedReads(records.read)
        first = asyncio.create_task(shared.get("a"))
        await settle()
        records.value = 1
        later = [asyncio.create_task(shared.get("a")) for _ in range(3)]
        await settle()
        assert records.reads == ["a"]
        records.answer()
        assert await first == 0
        assert await asyncio.gather(*later) == [1, 1, 1]
        assert records.reads == ["a", "a"]

    async def test_different_records_do_not_wait_for_each_other(self, records: Records) -> None:
        shared = SharedReads(records.read)
        tasks = [asyncio.create_task(shared.get(key)) for key in "ab"]
        await settle()
        assert records.reads == ["a", "b"]
        records.answer()
        await asyncio.gather(*tasks)

    async def test_an_answer_is_not_kept(self, records: Records) -> None:
        shared = SharedReads(records.read)
        records.answer()
        await shared.get("a")
        records.value = 1
        assert await shared.get("a") == 1

    async def test_an_error_is_everybodys_and_the_next_read_is_tried(self, records: Records) -> None:
        shared = SharedReads(records.read)
        records.error = OSError("away")
        records.answer()
        tasks = [asyncio.create_task(shared.get("a")) for _ in range(2)]
        for task in tasks:
            with pytest.raises(OSError, match="away"):
                await task
        records.error = None
        assert await shared.get("a") == 0

    async def test_one_who_gives_up_leaves_the_others_their_answer(self, records: Records) -> None:
        shared = SharedReads(records.read)
        tasks = [asyncio.create_task(shared.get("a")) for _ in range(2)]
        await settle()
        tasks[0].cancel()
        await settle()
        records.answer()
        assert await tasks[1] == 0
        assert tasks[0].cancelled()

    async def test_nobody_waits_for_a_read_that_was_cancelled(self, records: Records) -> None:
        """As all tasks are when an event loop is shut down."""
        shared = SharedReads(records.read)
        first = asyncio.create_task(shared.get("a"))
        await settle()
        second = asyncio.create_task(shared.get("a"))
        await settle()
        (task,) = shared._tasks.values()
        task.cancel()
        await asyncio.wait([first, second])
        assert first.cancelled()
        assert second.cancelled()
        assert not shared._tasks
        assert not shared._next
