import pytest

from realtime.bus import watch
from realtime.bus.watch import Watch


def hold(one: Watch, *messages: bytes) -> bool:
    """Hold messages; return whether they have become too many."""
    assert one.held is not None
    for message in messages:
        one.hold(message, one.held)
    return one.overflowed


class TestHold:
    def test_messages_are_held_in_order(self) -> None:
        one = Watch("demo")
        assert not hold(one, b"a", b"b")
        assert one.held == [b"a", b"b"]

    @pytest.mark.parametrize(("name", "limit"), [("HELD_MESSAGES", 3), ("HELD_BYTES", 12)])
    def test_more_than_can_be_held_is_left_to_the_log_and_holding_begins_anew(
        self, monkeypatch: pytest.MonkeyPatch, name: str, limit: int
    ) -> None:
        monkeypatch.setattr(watch, name, limit)
        one = Watch("demo")
        assert not hold(one, b"1234", b"1234", b"1234")

        assert hold(one, b"1234")
        assert not one.held
        hold(one, b"1234", b"1234")
        assert one.held == [b"1234", b"1234"]

    def test_new_subscription_holds_nothing_of_the_one_before(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(watch, "HELD_BYTES", 12)
        one = Watch("demo")
        hold(one, b"1234", b"1234", b"1234", b"1234", b"1234")
        one.begin()
        assert not one.held

        assert not hold(one, b"1234", b"1234", b"1234")


class TestIsVoid:
    def test_attempt_is_void_once_another_begins_or_the_watch_ends(self) -> None:
        one = Watch("demo")
        first = one.attempt
        assert not one.is_void(first)
        one.begin()
        assert one.is_void(first)
        assert not one.is_void(one.attempt)
        one.is_ended = True
        assert one.is_void(one.attempt)
