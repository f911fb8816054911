"""The heartbeat's wheel: everything on it comes up exactly once a turn."""

from hypothesis import given
from hypothesis import strategies as st

from realtime.hub.wheel import Wheel


class TestWheel:
    def test_item_comes_up_once_a_turn(self) -> None:
        wheel: Wheel[str] = Wheel(3)
        wheel.add("a")
        assert [list(wheel.advance()) for _ in range(6)] == [[], [], ["a"], [], [], ["a"]]

    def test_removed_item_does_not_come_up(self) -> None:
        wheel: Wheel[str] = Wheel(1)
        wheel.add("a")
        wheel.remove("a")
        wheel.remove("a")
        assert list(wheel.advance()) == []
        assert len(wheel) == 0

    @given(st.integers(1, 7), st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60))
    def test_one_turn_brings_every_member_once(self, slots: int, steps: list[tuple[bool, int]]) -> None:
        wheel: Wheel[int] = Wheel(slots)
        members: set[int] = set()
        for add, item in steps:
            if add and item not in members:
                wheel.add(item)
                members.add(item)
            elif not add:
                wheel.remove(item)
                members.discard(item)
            wheel.advance()
        turn = [item for _ in range(slots) for item in wheel.advance()]
        assert sorted(turn) == sorted(members)
        assert len(wheel) == len(members)
