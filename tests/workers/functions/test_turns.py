import asyncio
from collections import Counter

import pytest

from workers.functions.pace import Limits
from workers.functions.shares import Lane
from workers.functions.turns import NoTurnError, Turns

LIMITS = Limits(total=5, of_project=4, of_function=2)


class Runs:
    """Has executions wait for their turn, and each run until it may end."""

    def __init__(self, turns: Turns) -> None:
        self.running: Counter[Lane] = Counter()
        self.order: list[tuple[Lane, int]] = []
        self.may_end = asyncio.Event()
        self._turns = turns

    async def run(self, lane: Lane, number: int = 0) -> None:
        async with self._turns.wait(lane, timeout_s=10):
            self.running[lane] += 1
            self.order.append((lane, number))
            await self.may_end.wait()
            self.running[lane] -= 1


async def settled() -> None:
    """Let every task go on that can."""
    for _ in range(20):
        await asyncio.sleep(0)


class TestWait:
    async def test_function_project_and_all_have_so_many_places(self) -> None:
        runs = Runs(Turns(LIMITS))
        lanes = [Lane("p", name) for name in "abc"] + [Lane("q", "a")]
        async with asyncio.TaskGroup() as group:
            for lane in lanes:
                for _ in range(4):
                    group.create_task(runs.run(lane))
            await settled()
            assert runs.running == {lanes[0]: 2, lanes[1]: 2, lanes[3]: 1}
            runs.may_end.set()
        assert len(runs.order) == 16

    async def test_those_of_a_function_run_in_the_order_in_which_they_came(self) -> None:
        runs = Runs(Turns(LIMITS))
        runs.may_end.set()
        lane = Lane("p", "a")
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(runs.run(lane, number))
        assert runs.order == [(lane, number) for number in range(20)]

    async def test_who_waits_too_long_is_told_and_takes_no_place(self) -> None:
        turns = Turns(Limits(total=1, of_project=1, of_function=1))
        async with turns.wait(Lane("p", "a"), timeout_s=1):
            for lane in (Lane("p", "a"), Lane("p", "b"), Lane("q", "a")):
                with pytest.raises(NoTurnError):
                    async with turns.wait(lane, timeout_s=0.01):
                        pass
        async with turns.wait(Lane("q", "a"), timeout_s=1):
            pass

    async def test_error_of_who_runs_is_theirs_and_leaves_the_place(self) -> None:
        turns = Turns(Limits(total=1, of_project=1, of_function=1))
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with turns.wait(Lane("p", "a"), timeout_s=1):
                    raise TimeoutError
