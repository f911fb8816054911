from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from workers.functions.shares import Lane, share_out

A1, A2, B1 = Lane("a", "1"), Lane("a", "2"), Lane("b", "1")

lanes = st.builds(Lane, st.sampled_from("abc"), st.sampled_from("123"))


class TestShareOut:
    def test_places_go_round(self) -> None:
        assert share_out([A1, A2, B1], {}, free=5, of_project=9, of_function=9) == {A1: 2, A2: 2, B1: 1}

    def test_lane_that_is_full_leaves_its_place_to_others(self) -> None:
        assert share_out([A1, B1], {A1: 2}, free=4, of_project=9, of_function=2) == {B1: 2}

    def test_project_that_is_full_leaves_its_place_to_others(self) -> None:
        assert share_out([A1, A2, B1], {A1: 3}, free=4, of_project=4, of_function=4) == {A1: 1, B1: 3}

    def test_lane_that_runs_and_waits_for_nothing_counts_for_its_project(self) -> None:
        assert share_out([A1], {A2: 2}, free=4, of_project=3, of_function=4) == {A1: 1}

    def test_nothing_free_gives_nothing(self) -> None:
        assert share_out([A1], {}, free=0, of_project=1, of_function=1) == {}

    @given(
        waiting=st.lists(lanes, unique=True),
        running=st.dictionaries(lanes, st.integers(1, 5)),
        free=st.integers(0, 12),
        of_project=st.integers(1, 8),
        of_function=st.integers(1, 4),
    )
    def test_limits_hold_nothing_is_left_unused_and_nobody_gets_two_more_than_another_may_have(
        self, waiting: list[Lane], running: dict[Lane, int], free: int, of_project: int, of_function: int
    ) -> None:
        shares = share_out(waiting, running, free=free, of_project=of_project, of_function=of_function)
        after = Counter(running)
        after.update(shares)
        of_projects: Counter[str] = Counter()
        for lane, count in after.items():
            of_projects[lane.project_id] += count
        assert sum(shares.values()) <= free
        assert set(shares) <= set(waiting)
        assert all(count > 0 for count in shares.values())
        for lane in shares:
            assert after[lane] <= of_function
            assert of_projects[lane.project_id] <= of_project
        for lane in waiting:
            has_room = after[lane] < of_function and of_projects[lane.project_id] < of_project
            if has_room:
                # It was only the number of places that kept it from more.
                assert sum(shares.values()) == free
                assert max(shares.values(), default=0) <= shares.get(lane, 0) + 1
