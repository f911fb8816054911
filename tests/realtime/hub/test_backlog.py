"""What waits is kept in order, within bounds, and given up as a whole."""

import pytest

from realtime.hub import backlog as module
from realtime.hub.backlog import Backlog


@pytest.fixture
async def backlog() -> Backlog:
    return Backlog()


class TestBacklog:
    async def test_messages_leave_in_the_order_in_which_they_came(self, backlog: Backlog) -> None:
        for message in (b"a", b"b"):
            backlog.append(message)
        assert backlog.first == b"a"
        assert [backlog.popleft(), backlog.popleft()] == [b"a", b"b"]
        assert not backlog
        assert backlog.size_bytes == 0

    async def test_bound_holds_for_many_small_messages_too(
        self, backlog: Backlog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "MAX_BACKLOG_BYTES", 1000)
        told = []
        for _ in range(10):
            backlog.append(b"")
            told.append((backlog.is_half_full, backlog.is_too_large))
        assert told == [(False, False)] * 5 + [(True, False)] * 5
        backlog.append(b"")
        assert backlog.is_too_large

    async def test_what_is_dropped_is_told_by_its_positions(self, backlog: Backlog) -> None:
        for message in (b'{"id":"9-0"}', b'{"identity":{}}', b'{"id":"10-0"}'):
            backlog.append(message)
        assert backlog.drop() == [(9, 0), (10, 0)]
        assert (bool(backlog), backlog.size_bytes, backlog.drops) == (False, 0, 1)
