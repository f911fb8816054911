"""A drain lets everybody go, in random order, within the window."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from realtime.hub.batches import FULL_RATE, STEP_S, batches


class TestBatches:
    def test_few_leave_at_once(self) -> None:
        assert len(batches(range(int(FULL_RATE * STEP_S)), 10, Random(1))) == 1

    def test_nobody_is_no_batch(self) -> None:
        assert batches([], 10, Random(1)) == []

    def test_order_is_random(self) -> None:
        assert [item for batch in batches(range(1000), 10, Random(1)) for item in batch] != list(range(1000))

    @given(st.integers(0, 5000), st.floats(0, 60))
    def test_everybody_leaves_once_within_the_window(self, count: int, window_s: float) -> None:
        result = batches(range(count), window_s, Random(1))
        assert sorted(item for batch in result for item in batch) == list(range(count))
        assert (len(result) - 1) * STEP_S <= window_s
