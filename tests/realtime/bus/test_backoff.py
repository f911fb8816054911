from hypothesis import given
from hypothesis import strategies as st

from realtime.bus.backoff import backoff_s


class TestBackoff:
    def test_pause_doubles_up_to_the_cap(self) -> None:
        pauses = [backoff_s(attempt, 0.0, base_s=0.1, cap_s=1.0) for attempt in range(6)]

        assert pauses == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]

    @given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
    def test_jitter_takes_off_up_to_half(self, attempt: int, jitter: float) -> None:
        whole = backoff_s(attempt, 0.0)

        assert whole / 2 <= backoff_s(attempt, jitter) <= whole <= 2.0
