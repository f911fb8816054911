"""Tests of when a delivery is attempted again."""

from hypothesis import given
from hypothesis import strategies as st

from workers.webhooks.schedule import MAX_RETRY_AFTER_S, retry_delay_s

_SCHEDULE = (5.0, 30.0, 120.0)

schedules = st.lists(st.floats(0.1, 1e6), min_size=1, max_size=12)
jitters = st.floats(0, 1, exclude_max=True)


class TestRetryDelay:
    def test_failures_without_jitter_in_the_middle_follow_the_schedule(self) -> None:
        assert [retry_delay_s(_SCHEDULE, failures, 0.5) for failures in (1, 2, 3)] == [5.0, 30.0, 120.0]

    def test_the_end_of_the_schedule_is_the_last_attempt(self) -> None:
        assert retry_delay_s(_SCHEDULE, 4, 0.5, retry_after_s=10) is None

    def test_jitter_is_a_tenth_at_most(self) -> None:
        assert retry_delay_s(_SCHEDULE, 2, 0.0) == 27.0
        assert 32.99 < (retry_delay_s(_SCHEDULE, 2, 0.9999999) or 0) < 33.0

    def test_the_first_of_the_defaults_is_within_ten_seconds(self) -> None:
        assert (retry_delay_s(_SCHEDULE, 1, 0.9999999) or 0) < 10

    def test_retry_after_puts_off_and_never_brings_forward(self) -> None:
        assert retry_delay_s(_SCHEDULE, 2, 0.5, retry_after_s=300) == 300
        assert retry_delay_s(_SCHEDULE, 2, 0.5, retry_after_s=1) == 30

    def test_retry_after_of_more_than_a_day_is_a_day(self) -> None:
        assert retry_delay_s(_SCHEDULE, 1, 0.5, retry_after_s=10**9) == MAX_RETRY_AFTER_S == 86_400

    @given(schedules, st.integers(1, 14), jitters, st.none() | st.floats(0, 1e9))
    def test_any_delay_is_near_the_schedule_or_what_was_asked_for(
        self, schedule: list[float], failures: int, jitter: float, retry_after_s: float | None
    ) -> None:
        delay_s = retry_delay_s(schedule, failures, jitter, retry_after_s)
        if failures > len(schedule):
            assert delay_s is None
            return
        assert delay_s is not None
        planned = schedule[failures - 1]
        asked = min(retry_after_s or 0, 86_400)
        assert delay_s == asked or 0.9 * planned <= delay_s <= 1.1 * planned
        assert delay_s >= asked
