from hypothesis import given
from hypothesis import strategies as st

from realtime.client.schedule import Backoff


class TestBackoff:
    def test_ceilings_double_up_to_the_highest(self) -> None:
        backoff = Backoff(base_s=1, max_s=30)
        assert [backoff.delay_s(attempt, 1.0) for attempt in range(7)] == [1, 2, 4, 8, 16, 30, 30]

    @given(st.integers(0, 10**6), st.floats(0, 1, exclude_max=True))
    def test_delay_lies_between_nothing_and_the_ceiling(self, attempt: int, fraction: float) -> None:
        assert 0 <= Backoff().delay_s(attempt, fraction) <= 30
