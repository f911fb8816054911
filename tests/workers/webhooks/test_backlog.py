"""Tests of how much more may wait for a webhook."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.webhooks.backlog import Backlog


class TestBacklog:
    def test_an_unknown_webhook_has_to_be_counted(self) -> None:
        assert Backlog(100).uncertain(1, 1, 0.0) == 100

    def test_little_of_much_room_is_not_counted_again(self) -> None:
        backlog = Backlog(100)
        backlog.learn(1, 0, 0.0)
        assert backlog.uncertain(1, 25, 0.0) is None
        assert backlog.uncertain(1, 26, 0.0) == 100

    def test_a_full_one_is_counted_once_a_second(self) -> None:
        backlog = Backlog(10)
        backlog.learn(1, 10, 0.0)
        assert backlog.take(1, 5) == 0
        assert backlog.uncertain(1, 5, 0.9) is None
        assert backlog.uncertain(1, 5, 1.0) == 10

    def test_more_than_the_limit_is_no_room(self) -> None:
        backlog = Backlog(10)
        backlog.learn(1, 11, 0.0)
        assert backlog.take(1, 1) == 0

    def test_no_more_are_remembered_than_there_is_room_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("workers.webhooks.backlog._KNOWN", 2)
        backlog = Backlog(10)
        for number in (1, 2, 3):
            backlog.learn(number, 0, 0.0)
        assert backlog.uncertain(1, 1, 0.0) == 10
        assert backlog.uncertain(3, 1, 0.0) is None

    @given(st.integers(1, 50), st.lists(st.tuples(st.integers(1, 3), st.integers(1, 30))))
    def test_alone_it_never_lets_more_wait_than_the_limit_nor_refuses_without_need(
        self, limit: int, batches: list[tuple[int, int]]
    ) -> None:
        backlog = Backlog(limit)
        waiting = dict.fromkeys((1, 2, 3), 0)
        for now, (number, count) in enumerate(batches):
            if backlog.uncertain(number, count, float(now)) is not None:
                backlog.learn(number, waiting[number], float(now))
            taken = backlog.take(number, count)
            assert taken == min(count, limit - waiting[number])
            waiting[number] += taken
