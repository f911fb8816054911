"""A few slots, which parties take turns in."""

import asyncio

import pytest

from workers.images.gate import CrowdedError, Gate
from workers.images.turns import Party


class TestEntered:
    async def test_as_many_as_there_are_slots_are_in(self) -> None:
        gate = Gate(2, 5)
        inside = most = 0

        async def enter() -> None:
            nonlocal inside, most
            async with gate.entered(Party()):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0)
                inside -= 1

        await asyncio.gather(*(enter() for _ in range(7)))
        assert (inside, most) == (0, 2)

    async def test_whoever_fails_inside_lets_the_next_in(self) -> None:
        gate = Gate(1, 0)
        with pytest.raises(KeyError):
            async with gate.entered(Party()):
                raise KeyError
        async with gate.entered(Party()):
            with pytest.raises(CrowdedError):
                async with gate.entered(Party()):
                    raise AssertionError

    async def test_whoever_goes_away_with_the_turn_passes_it_on(self) -> None:
        gate = Gate(1, 2)
        entered: list[str] = []

        async def enter(name: str) -> None:
            async with gate.entered(Party()):
                entered.append(name)

        async with gate.entered(Party()):
            first, second = (asyncio.create_task(enter(name)) for name in ("first", "second"))
            await asyncio.sleep(0)
        # The turn is there, and who has it not yet awake.
        first.cancel()
        await asyncio.wait([first, second])
        assert first.cancelled()
        assert entered == ["second"]

    async def test_whoever_goes_away_before_the_turn_leaves_the_place(self) -> None:
        gate = Gate(1, 1)
        async with gate.entered(Party()):
            first = asyncio.create_task(gate._wait(Party()))
            await asyncio.sleep(0)
            first.cancel()
            await asyncio.wait([first])
            second = asyncio.create_task(gate._wait(Party()))
            await asyncio.sleep(0)
            assert not second.done()
        await second
