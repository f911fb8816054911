"""Windows are aligned to whole minutes and start from nothing; limits come from the settings."""

from realtime.hub.limits import WindowCounter, message_limits, window_of
from realtime.settings import Settings


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


class TestMessageLimits:
    def test_they_are_those_of_the_settings(self) -> None:
        settings = Settings(
            subscriptions_per_connection=1,
            channels_per_subscription=2,
            queries_per_subscription=3,
            query_depth=4,
        )
        assert message_limits(settings) == (1, 2, 3, 4)

    def test_without_limits_only_the_depth_of_queries_is_bounded(self) -> None:
        assert message_limits(Settings(limits="off", query_depth=4)) == (0, 0, 0, 4)
