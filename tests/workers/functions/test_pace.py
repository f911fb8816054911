import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.functions import pace as module
from workers.functions.pace import MAX_AHEAD, Limits, Pace
from workers.functions.shares import Lane

LIMITS = Limits(total=8, of_project=6, of_function=3)
A, B, OTHER = Lane("p", "a"), Lane("p", "b"), Lane("q", "a")
C = Lane("p", "c")


def ask(pace: Pace, *due: Lane, **claimed: int) -> dict[Lane, int]:
    """Ask for lanes of project ``p``, of which so many of each function are claimed."""
    return pace.ask(
        dict.fromkeys(due), {Lane("p", function_id): count for function_id, count in claimed.items()}
    )


class TestAsk:
    def test_of_a_function_never_run_as_many_as_may_run_are_claimed(self) -> None:
        assert ask(Pace(LIMITS), A) == {A: 3}

    def test_project_has_no_more_than_its_share(self) -> None:
        assert ask(Pace(LIMITS), A, B, C) == {A: 2, B: 2, C: 2}
        assert ask(Pace(LIMITS), A, B, C, OTHER) == {A: 2, B: 2, C: 1, OTHER: 3}

    def test_of_a_quick_function_what_is_run_next_is_claimed_too(self) -> None:
        pace = Pace(LIMITS)
        pace.ended(A, 0.05, 0)
        # Three at a time, each of which takes a tenth of half a second.
        assert ask(pace, A) == {A: 3 + 30}

    def test_of_a_function_that_takes_milliseconds_a_bounded_number_waits(self) -> None:
        pace = Pace(LIMITS)
        pace.ended(A, 0.0, 0)
        assert ask(pace, A) == {A: 3 + MAX_AHEAD}

    def test_of_a_slow_function_nothing_is_claimed_that_does_not_run(self) -> None:
        pace = Pace(LIMITS)
        pace.ended(A, 10.0, 0)
        assert ask(pace, A) == {A: 3}
        assert ask(pace, A, a=3) == {}

    def test_more_is_claimed_only_when_half_of_what_waits_has_run(self) -> None:
        pace = Pace(LIMITS)
        pace.ended(A, 0.05, 0)
        assert ask(pace, A, a=3 + 16) == {}
        assert ask(pace, A, a=3 + 15) == {A: 15}

    def test_nothing_is_claimed_ahead_of_a_function_whose_turn_does_not_come(self) -> None:
        """All places are with others, who may keep them for long."""
        pace = Pace(LIMITS)
        pace.ended(A, 0.001, 0)
        assert pace.ask({A: None}, {Lane("q", "x"): 3, Lane("q", "y"): 3, Lane("r", "z"): 2}) == {}

    @given(
        claimed=st.dictionaries(
            st.builds(Lane, st.sampled_from("pq"), st.sampled_from("abc")), st.integers(1, 150)
        ),
        due=st.lists(st.builds(Lane, st.sampled_from("pq"), st.sampled_from("abc")), unique=True),
        durations=st.dictionaries(
            st.builds(Lane, st.sampled_from("pq"), st.sampled_from("abc")), st.floats(0, 100)
        ),
    )
    def test_what_waits_for_its_turn_is_bounded(
        self, claimed: dict[Lane, int], due: list[Lane], durations: dict[Lane, float]
    ) -> None:
        pace = Pace(LIMITS)
        for lane, duration_s in durations.items():
            pace.ended(lane, duration_s, 0)
        asked = pace.ask(dict.fromkeys(due), claimed)
        assert set(asked) <= set(due)
        for lane, count in asked.items():
            assert count > 0
            assert claimed.get(lane, 0) + count <= LIMITS.of_function + MAX_AHEAD


class TestOrder:
    def test_those_are_served_first_who_were_served_longest_ago(self) -> None:
        pace = Pace(Limits(total=1, of_project=1, of_function=1))
        served = []
        for _ in range(6):
            ((lane, count),) = ask(pace, A, B, C).items()
            pace.got(lane, count, count)
            served.append(lane)
        assert served == [A, B, C, A, B, C]

    def test_who_was_never_served_comes_before_those_who_were(self) -> None:
        pace = Pace(Limits(total=1, of_project=1, of_function=1))
        pace.got(A, 1, 1)
        assert ask(pace, A, OTHER) == {OTHER: 1}

    def test_only_so_many_are_known_by_when_they_were_served(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_MAX_KNOWN", 2)
        pace = Pace(Limits(total=1, of_project=1, of_function=1))
        for lane in (A, B, C):
            pace.got(lane, 1, 1)
        assert ask(pace, C, B, A) == {A: 1}

    def test_nothing_is_claimed_ahead_by_those_with_more_than_others_who_wait(self) -> None:
        """They would have every place that becomes free, as they are already there."""
        pace = Pace(LIMITS)
        for lane in (A, B):
            pace.ended(lane, 0.5, 0)
        assert ask(pace, A, B, a=3, b=3) == {A: 3, B: 3}
        assert ask(pace, A, B, C, a=3, b=3) == {}
        assert pace.left_out({A: 3, B: 3}) == [C]
        assert pace.left_out({C: 1}) == []

    def test_what_waits_for_its_project_takes_no_place_of_others(self) -> None:
        assert ask(Pace(LIMITS), OTHER, a=3, b=3, c=3) == {OTHER: 2}


class TestEnded:
    def test_end_calls_for_a_claim_if_the_last_one_had_all_it_asked_for(self) -> None:
        pace = Pace(LIMITS)
        pace.got(A, 3, 3)
        assert pace.ended(A, 10.0, 2)
        pace.got(A, 1, 0)
        assert not pace.ended(A, 10.0, 1)

    def test_end_of_one_calls_for_a_claim_for_those_who_got_nothing_because_of_it(self) -> None:
        pace = Pace(Limits(total=1, of_project=1, of_function=1))
        assert pace.ask({OTHER: None}, {A: 1}) == {}
        assert pace.ended(A, 10.0, 0)

    def test_end_calls_for_nothing_while_enough_waits_for_its_turn(self) -> None:
        pace = Pace(LIMITS)
        pace.got(A, 33, 33)
        assert not pace.ended(A, 0.05, 30)
        assert pace.ended(A, 0.05, 18)

    def test_mean_follows_what_changes(self) -> None:
        pace = Pace(LIMITS)
        pace.ended(A, 0.05, 0)
        for _ in range(50):
            pace.ended(A, 10.0, 0)
        assert ask(pace, A) == {A: 3}

    def test_of_so_many_functions_only_is_it_known_how_long_they_take(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_MAX_KNOWN", 2)
        pace = Pace(LIMITS)
        for lane in (A, B, OTHER):
            pace.ended(lane, 0.05, 0)
        assert ask(pace, A) == {A: 3}
        assert ask(pace, OTHER) == {OTHER: 33}
