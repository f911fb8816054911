from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from workers.functions.shares import Lane, share_out

A1, A2, B1 = Lane("a", "1"), Lane("a", "2"), Lane("b", "1")

lanes = st.builds(Lane, st.sampled_from("abc"), st.sampled_from("123"))


class TestShareOut:
    def test_places_go_round(self) -> None:
        assert share_out([A1, A2], {}, free=5, of_project=9, of_function=9) == {A1: 3, A2: 2}

    def test_project_with_many_functions_has_no_more_than_another(self) -> None:
        assert share_out([A1, A2, B1], {}, free=4, of_project=9, of_function=9) == {A1: 1, A2: 1, B1: 2}

    def test_place_goes_to_who_runs_least_and_not_to_who_is_first(self) -> None:
        assert share_out([A1, A2, B1], {A1: 2, A2: 1, B1: 1}, free=1, of_project=9, of_function=9) == {B1: 1}
        assert share_out([A1, A2], {A1: 2, A2: 1, B1: 1}, free=1, of_project=9, of_function=9) == {A2: 1}

    def test_lane_that_is_full_leaves_its_place_to_others(self) -> None:
        assert share_out([A1, B1], {A1: 2}, free=4, of_project=9, of_function=2) == {B1: 2}

    def test_project_that_is_full_leaves_its_place_to_others(self) -> None:
        assert share_out([A1, A2, B1], {A1: 3}, free=5, of_project=4, of_function=4) == {A2: 1, B1: 4}

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
    def test_each_place_goes_to_the_project_and_lane_with_the_fewest(
        self, waiting: list[Lane], running: dict[Lane, int], free: int, of_project: int, of_function: int
    ) -> None:
        has = Counter(running)

        def of(project_id: str) -> int:
            return sum(count for lane, count in has.items() if lane.project_id == project_id)

        for _ in range(free):
            may = [lane for lane in waiting if has[lane] < of_function and of(lane.project_id) < of_project]
            if may:
                has[min(may, key=lambda lane: (of(lane.project_id), has[lane], waiting.index(lane)))] += 1
        shares = share_out(waiting, running, free=free, of_project=of_project, of_function=of_function)
        assert shares == {
            lane: count - running.get(lane, 0) for lane, count in has.items() if count > running.get(lane, 0)
        }
