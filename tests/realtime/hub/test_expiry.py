"""The queue of what ends: in order of time, each once."""

from hypothesis import given
from hypothesis import strategies as st

from realtime.hub.expiry import ExpiryQueue


class TestExpiryQueue:
    def test_empty_queue_has_no_next(self) -> None:
        queue: ExpiryQueue[str] = ExpiryQueue()
        assert queue.next_at is None
        assert queue.take_due(1e12) == []

    def test_items_of_the_same_time_need_no_order(self) -> None:
        queue: ExpiryQueue[object] = ExpiryQueue()
        first, second = object(), object()
        queue.add(1.0, first)
        queue.add(1.0, second)
        assert queue.take_due(1.0) == [first, second]

    @given(st.lists(st.integers(0, 50)), st.integers(0, 50))
    def test_due_items_are_taken_once_in_order(self, times: list[int], now: int) -> None:
        queue: ExpiryQueue[int] = ExpiryQueue()
        for at in times:
            queue.add(at, at)
        assert queue.take_due(now) == sorted(at for at in times if at <= now)
        assert len(queue) == sum(at > now for at in times)
        assert queue.next_at == min((at for at in times if at > now), default=None)
