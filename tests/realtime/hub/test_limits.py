"""Windows are aligned to whole minutes and start from nothing."""

from realtime.hub.limits import WindowCounter, window_of


class TestWindowCounter:
    def test_hits_count_by_key(self) -> None:
        counter = WindowCounter()
        assert [counter.hit("a", 0), counter.hit("a", 59.9), counter.hit("b", 59.9)] == [1, 2, 1]

    def test_next_window_starts_from_nothing(self) -> None:
        counter = WindowCounter()
        counter.hit("a", 59.9)
        assert counter.hit("a", 60.0) == 1

    def test_windows_are_aligned_to_minutes(self) -> None:
        assert window_of(119.999) == 1
        assert window_of(120.0) == 2
