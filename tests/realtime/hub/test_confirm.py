from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from realtime.bus.positions import parse_position
from realtime.hub.confirm import Confirmations

RECEIVERS = ("ann", "bob", "cem")
receivers = st.sampled_from(RECEIVERS)


def make(position: str = "1-0") -> Confirmations[str]:
    return Confirmations(position)


def everybody(receiver: str) -> bool:
    return True


def ask_all(confirmations: Confirmations[str], position: str, now: float = 0) -> tuple[bytes, list[str]]:
    return confirmations.ask_all(position, now, everybody)


class TestConfirmations:
    def test_who_was_sent_nothing_has_everything(self) -> None:
        assert make().confirmed("ann", "7-0") == "7-0"
        assert make().is_settled("ann")

    def test_what_was_sent_is_confirmed_by_the_answer_to_the_next_ping(self) -> None:
        confirmations = make()
        confirmations.sent({"ann": None})
        assert confirmations.confirmed("ann", "2-0") == "1-0"
        payload, asked = ask_all(confirmations, "2-0")
        assert asked == ["ann"]
        assert confirmations.confirmed("ann", "2-0") == "1-0"
        assert confirmations.answered("ann", payload)
        assert confirmations.is_settled("ann")
        assert confirmations.confirmed("ann", "2-0") == "2-0"

    def test_what_was_sent_after_the_ping_is_not_confirmed_by_its_answer(self) -> None:
        confirmations = make()
        confirmations.sent({"ann": None})
        payload, _ = ask_all(confirmations, "2-0")
        confirmations.sent({"ann": None})
        assert confirmations.answered("ann", payload)
        assert not confirmations.is_settled("ann")
        assert confirmations.confirmed("ann", "3-0") == "2-0"

    def test_who_owes_an_answer_is_not_asked_again(self) -> None:
        confirmations = make()
        confirmations.sent({"ann": None})
        payload, _ = ask_all(confirmations, "2-0")
        confirmations.sent({"ann": None})
        assert ask_all(confirmations, "3-0")[1] == []
        confirmations.answered("ann", payload)
        assert ask_all(confirmations, "3-0")[1] == ["ann"]

    def test_who_does_not_matter_is_not_asked(self) -> None:
        confirmations = make()
        confirmations.sent({"ann": None, "bob": None})
        assert confirmations.ask_all("2-0", 0, lambda each: each == "bob")[1] == ["bob"]
        assert confirmations.is_settled("ann")

    @pytest.mark.parametrize("payload", [b"", b"1-0", b"2-0", b"2-0/0", b"\xff"])
    def test_pong_that_answers_nothing_confirms_nothing(self, payload: bytes) -> None:
        confirmations = make()
        assert not confirmations.answered("ann", payload)
        confirmations.sent({"ann": None})
        ask_all(confirmations, "2-0")
        assert not confirmations.answered("ann", payload)
        assert not confirmations.is_settled("ann")

    def test_asked_once_more_only_the_later_answer_counts(self) -> None:
        confirmations = make()
        confirmations.sent({"ann": None})
        first, _ = ask_all(confirmations, "2-0")
        confirmations.sent({"ann": None})
        second = confirmations.ask("ann", "2-0", 1)
        assert second is not None
        assert not confirmations.answered("ann", first)
        assert confirmations.answered("ann", second)
        assert confirmations.is_settled("ann")

    def test_questions_are_numbered(self) -> None:
        confirmations = make()
        confirmations.sent({"ann": None})
        first, _ = ask_all(confirmations, "2-0")
        assert confirmations.answered("ann", first) == confirmations.number
        confirmations.sent({"ann": None})
        before = confirmations.number
        second, _ = ask_all(confirmations, "2-0")
        assert confirmations.answered("ann", second) == before + 1

    def test_settled_receiver_is_not_asked(self) -> None:
        assert make().ask("ann", "2-0", 0) is None

    def test_overdue_since_first_asked(self) -> None:
        confirmations = make()
        confirmations.sent({"ann": None})
        ask_all(confirmations, "2-0", now=10)
        confirmations.ask("ann", "2-0", 20)
        assert confirmations.overdue(10) == []
        assert confirmations.overdue(11) == ["ann"]

    def test_floor_is_the_least_of_all_but_those_left_out(self) -> None:
        confirmations = make()
        confirmations.sent({"ann": None})
        ask_all(confirmations, "2-0")
        confirmations.sent({"bob": None})
        ask_all(confirmations, "10-0")
        assert confirmations.floor("10-0", ()) == "1-0"
        assert confirmations.floor("10-0", {"ann"}) == "2-0"
        assert confirmations.floor("10-0", {"ann", "bob"}) == "10-0"

    def test_told_once_a_round_that_something_was_sent(self) -> None:
        calls: list[None] = []
        confirmations: Confirmations[str] = Confirmations("1-0", lambda: calls.append(None))
        confirmations.sent({"ann": None})
        confirmations.sent({"bob": None})
        assert len(calls) == 1
        ask_all(confirmations, "2-0")
        confirmations.sent({"cem": None})
        assert len(calls) == 2

    def test_forgotten_receiver_is_settled(self) -> None:
        confirmations = make()
        confirmations.sent({"ann": None})
        ask_all(confirmations, "2-0")
        confirmations.sent({"ann": None})
        confirmations.forget("ann")
        assert confirmations.all_settled
        assert confirmations.is_settled("ann")


class Stream(RuleBasedStateMachine):
    """Clients that take what they are sent, in order, and answer pings; beside it, what they really have."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1
        self.confirmations: Confirmations[str] = Confirmations(self.position)
        # What each was sent and has not confirmed, oldest first: numbers of events, and pings with their payload.
        self.pipes: dict[str, list[int | bytes]] = defaultdict(list)

    @property
    def position(self) -> str:
        return f"{self.now}-0"

    @rule(to=st.sets(receivers))
    def event(self, to: set[str]) -> None:
        self.now += 1
        for each in to:
            self.pipes[each].append(self.now)
        if to:
            self.confirmations.sent(dict.fromkeys(to))

    @rule()
    def round(self) -> None:
        payload, asked = ask_all(self.confirmations, self.position)
        for each in asked:
            self.pipes[each].append(payload)
        floor = parse_position(self.confirmations.floor(self.position, ()))
        for each in RECEIVERS:
            assert parse_position(self.confirmations.confirmed(each, self.position)) >= floor

    @rule(receiver=receivers)
    def heartbeat(self, receiver: str) -> None:
        payload = self.confirmations.ask(receiver, self.position, 0)
        if payload is not None:
            self.pipes[receiver].append(payload)

    @rule(receiver=receivers, skips=st.booleans())
    def answer(self, receiver: str, skips: bool) -> None:
        """Answer the next ping; or the one after it, which confirms as much."""
        pipe = self.pipes[receiver]
        pings = [at for at, each in enumerate(pipe) if isinstance(each, bytes)]
        if not pings:
            return
        at = pings[1] if skips and len(pings) > 1 else pings[0]
        payload = pipe[at]
        assert isinstance(payload, bytes)
        if self.confirmations.answered(receiver, payload):
            # Everything before it has been received.
            del pipe[: at + 1]
        else:
            # A later ping was sent, so this one's answer is not waited for: nothing may be taken for received.
            del pipe[at]

    @rule(receiver=receivers)
    def leave(self, receiver: str) -> None:
        self.confirmations.forget(receiver)
        self.pipes[receiver].clear()

    @invariant()
    def nothing_is_confirmed_that_may_be_missing(self) -> None:
        for each in RECEIVERS:
            missing = [number for number in self.pipes[each] if isinstance(number, int)]
            confirmed = parse_position(self.confirmations.confirmed(each, self.position))
            assert all(confirmed < (number, 0) for number in missing)
            assert self.confirmations.is_settled(each) == (not missing)


TestStream = Stream.TestCase


@given(st.lists(st.sets(receivers, min_size=1), min_size=1, max_size=20))
def test_everybody_is_settled_once_all_have_answered(events: list[set[str]]) -> None:
    confirmations = make("0-0")
    for number, to in enumerate(events, 1):
        confirmations.sent(dict.fromkeys(to))
        position = f"{number}-0"
        payload, asked = ask_all(confirmations, position)
        for each in asked:
            assert confirmations.answered(each, payload)
    assert confirmations.all_settled
