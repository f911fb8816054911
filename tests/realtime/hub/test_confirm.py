from collections import defaultdict

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


class TestConfirmations:
    def test_who_was_sent_nothing_has_everything(self) -> None:
        assert make().confirmed("ann", "7-0") == "7-0"
        assert make().is_settled("ann")

    def test_what_was_sent_is_confirmed_by_the_answer_to_the_next_ping(self) -> None:
        confirmations = make()
        confirmations.sent({"ann": None})
        assert confirmations.confirmed("ann", "2-0") == "1-0"
        assert confirmations.ask_all("2-0", 0, everybody) == ["ann"]
        assert confirmations.confirmed("ann", "2-0") == "1-0"
        assert confirmations.answered("ann", "2-0")
        assert confirmations.is_settled("ann")
        assert confirmations.confirmed("ann", "2-0") == "2-0"

    def test_what_was_sent_after_the_ping_is_not_confirmed_by_its_answer(self) -> None:
        confirmations = make()
        confirmations.sent({"ann": None})
        confirmations.ask_all("2-0", 0, everybody)
        confirmations.sent({"ann": None})
        assert confirmations.answered("ann", "2-0")
        assert not confirmations.is_settled("ann")
        assert confirmations.confirmed("ann", "3-0") == "2-0"

    def test_who_owes_an_answer_is_not_asked_again(self) -> None:
        confirmations = make()
        confirmations.sent({"ann": None})
        confirmations.ask_all("2-0", 0, everybody)
        confirmations.sent({"ann": None})
        assert confirmations.ask_all("3-0", 1, everybody) == []
        confirmations.answered("ann", "2-0")
        assert confirmations.ask_all("3-0", 2, everybody) == ["ann"]

    def test_who_does_not_matter_is_not_asked(self) -> None:
        confirmations = make()
        confirmations.sent({"ann": None, "bob": None})
        assert confirmations.ask_all("2-0", 0, lambda each: each == "bob") == ["bob"]
        assert confirmations.is_settled("ann")

    def test_pong_that_answers_nothing_confirms_nothing(self) -> None:
        confirmations = make()
        assert not confirmations.answered("ann", "1-0")
        confirmations.sent({"ann": None})
        confirmations.ask_all("2-0", 0, everybody)
        assert not confirmations.answered("ann", "1-0")
        assert not confirmations.answered("ann", "")
        assert not confirmations.is_settled("ann")

    def test_asked_once_more_only_the_later_answer_counts(self) -> None:
        confirmations = make()
        confirmations.sent({"ann": None})
        confirmations.ask_all("2-0", 0, everybody)
        confirmations.sent({"ann": None})
        assert confirmations.ask("ann", "3-0", 1)
        assert not confirmations.answered("ann", "2-0")
        assert confirmations.answered("ann", "3-0")
        assert confirmations.is_settled("ann")

    def test_settled_receiver_is_not_asked(self) -> None:
        assert not make().ask("ann", "2-0", 0)

    def test_overdue_since_first_asked(self) -> None:
        confirmations = make()
        confirmations.sent({"ann": None})
        confirmations.ask_all("2-0", 10, everybody)
        confirmations.ask("ann", "2-0", 20)
        assert confirmations.overdue(10) == []
        assert confirmations.overdue(11) == ["ann"]

    def test_floor_is_the_least_of_all_but_those_left_out(self) -> None:
        confirmations = make()
        confirmations.sent({"ann": None})
        confirmations.ask_all("2-0", 0, everybody)
        confirmations.sent({"bob": None})
        confirmations.ask_all("10-0", 1, everybody)
        assert confirmations.floor("10-0", ()) == "1-0"
        assert confirmations.floor("10-0", {"ann"}) == "2-0"
        assert confirmations.floor("10-0", {"ann", "bob"}) == "10-0"

    def test_told_once_a_round_that_something_was_sent(self) -> None:
        calls: list[None] = []
        confirmations: Confirmations[str] = Confirmations("1-0", lambda: calls.append(None))
        confirmations.sent({"ann": None})
        confirmations.sent({"bob": None})
        assert len(calls) == 1
        confirmations.ask_all("2-0", 0, everybody)
        confirmations.sent({"cem": None})
        assert len(calls) == 2

    def test_forgotten_receiver_is_settled(self) -> None:
        confirmations = make()
        confirmations.sent({"ann": None})
        confirmations.ask_all("2-0", 0, everybody)
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
        self.pipes: dict[str, list[int | str]] = defaultdict(list)

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
        for each in self.confirmations.ask_all(self.position, 0, everybody):
            self.pipes[each].append(self.position)
        floor = parse_position(self.confirmations.floor(self.position, ()))
        for each in RECEIVERS:
            assert parse_position(self.confirmations.confirmed(each, self.position)) >= floor

    @rule(receiver=receivers)
    def heartbeat(self, receiver: str) -> None:
        if self.confirmations.ask(receiver, self.position, 0):
            self.pipes[receiver].append(self.position)

    @rule(receiver=receivers, skips=st.booleans())
    def answer(self, receiver: str, skips: bool) -> None:
        """Answer the next ping; or the one after it, which confirms as much."""
        pipe = self.pipes[receiver]
        pings = [at for at, each in enumerate(pipe) if isinstance(each, str)]
        if not pings:
            return
        at = pings[1] if skips and len(pings) > 1 else pings[0]
        payload = str(pipe[at])
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
        for each in confirmations.ask_all(position, 0, everybody):
            assert confirmations.answered(each, position)
    assert confirmations.all_settled
