"""Tests of how much each endpoint may be sent at a time."""

from math import inf

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from workers.webhooks.endpoints import Endpoints, Limits, Place
from workers.webhooks.outcomes import Verdict

_LIMITS = Limits(concurrency=20, endpoint_concurrency=4, breaker_failures=3, breaker_pause_s=30.0)


def _each(*numbers: int) -> dict[int, str]:
    """Return endpoints, each of a project of its own."""
    return {number: f"project-{number}" for number in numbers}


def _at(number: int, url: str = "https://one.example/") -> Place:
    return Place(number, f"project-{number}", url)


def _begin(endpoints: Endpoints, number: int, count: int, now: float = 0.0) -> None:
    for _ in range(count):
        endpoints.begin(_at(number), now)


def _fail(endpoints: Endpoints, number: int, count: int, now: float = 0.0) -> None:
    for _ in range(count):
        endpoints.begin(_at(number), now)
        endpoints.end(_at(number), now, Verdict.FAILS)


class TestShares:
    def test_an_endpoint_gets_as_many_as_it_may_have(self) -> None:
        assert Endpoints(_LIMITS).allot(_each(1), 0.0) == {1: 4}

    def test_those_that_run_are_counted(self) -> None:
        endpoints = Endpoints(_LIMITS)
        _begin(endpoints, 1, 3)
        assert endpoints.allot(_each(1), 0.0) == {1: 1}
        _begin(endpoints, 1, 1)
        assert endpoints.allot(_each(1), 0.0) == {}

    def test_all_together_get_no_more_than_there_is(self) -> None:
        rooms = Endpoints(_LIMITS).allot(_each(*range(100)), 0.0)
        assert sum(rooms.values()) == 20

    def test_endpoints_that_never_answer_leave_something_for_the_others(self) -> None:
        endpoints = Endpoints(_LIMITS)
        slow = range(8)
        for _ in range(100):
            for number, room in endpoints.allot(_each(*slow), 0.0).items():
                _begin(endpoints, number, room)
        assert endpoints.running < 20
        assert endpoints.allot(_each(*slow, 99), 0.0) == {99: 1}

    def test_while_all_run_nobody_waits_for_a_time(self) -> None:
        endpoints = Endpoints(Limits(concurrency=1, endpoint_concurrency=1, endpoint_rate=1.0))
        endpoints.begin(_at(1), 0.0)
        assert endpoints.next_at(_each(1, 2), 0.0) == inf

    def test_a_single_place_is_given_away_and_taken_back(self) -> None:
        endpoints = Endpoints(Limits(concurrency=1, endpoint_concurrency=10))
        assert endpoints.allot(_each(1, 2), 0.0) == {1: 1}
        endpoints.begin(_at(1), 0.0)
        assert endpoints.allot(_each(1, 2), 0.0) == {}
        endpoints.end(_at(1), 0.0, Verdict.WORKS)
        assert endpoints.allot(_each(2, 1), 0.0) == {2: 1}

    def test_a_project_gets_three_quarters(self) -> None:
        endpoints = Endpoints(_LIMITS)
        evil = dict.fromkeys(range(100), "evil")
        rooms = endpoints.allot(evil | {100: "nice"}, 0.0)
        assert sum(rooms.values()) == 15 + 1
        assert rooms[100] == 1
        for number in rooms.keys() & evil.keys():
            for _ in range(rooms[number]):
                endpoints.begin(Place(number, "evil", ""), 0.0)
        assert endpoints.allot(evil, 0.0) == {}
        # It waits for the end of an attempt, and for no time.
        assert endpoints.next_at(evil, 0.0) == inf
        assert endpoints.next_at({100: "nice"}, 0.0) == 0.0
        endpoints.end(Place(0, "evil", ""), 0.0, Verdict.WORKS)
        assert sum(endpoints.allot(evil, 0.0).values()) == 1

    def test_an_endpoint_leaves_something_to_the_others_of_its_project(self) -> None:
        endpoints = Endpoints(Limits(concurrency=20, endpoint_concurrency=20))
        assert endpoints.allot({1: "demo"}, 0.0) == {1: 12}
        assert endpoints.allot({1: "demo", 2: "demo"}, 0.0) == {1: 12, 2: 1}


class TestMoves:
    def test_failures_elsewhere_do_not_count(self) -> None:
        endpoints = Endpoints(_LIMITS)
        _fail(endpoints, 1, 2)
        endpoints.begin(_at(1, "https://two.example/"), 0.0)
        endpoints.end(_at(1, "https://two.example/"), 0.0, Verdict.FAILS)
        assert endpoints.left_alone() == []

    def test_an_attempt_that_ends_after_the_move_says_nothing(self) -> None:
        endpoints = Endpoints(_LIMITS)
        _begin(endpoints, 1, 3)
        endpoints.begin(_at(1, "https://two.example/"), 0.0)
        for _ in range(3):
            endpoints.end(_at(1), 0.0, Verdict.FAILS)
        assert endpoints.left_alone() == []
        assert endpoints.allot(_each(1), 0.0) == {1: 3}

    def test_whoever_is_left_alone_is_not_any_more_when_it_has_moved(self) -> None:
        endpoints = Endpoints(_LIMITS)
        _fail(endpoints, 1, 3)
        endpoints.move({1: "https://one.example/", 2: "https://two.example/"})
        assert endpoints.left_alone() == [1]
        endpoints.move({1: "https://two.example/"})
        assert endpoints.left_alone() == []
        assert endpoints.allot(_each(1), 0.0) == {1: 4}


class TestRate:
    def test_a_burst_is_a_second_of_it(self) -> None:
        endpoints = Endpoints(Limits(concurrency=100, endpoint_concurrency=10, endpoint_rate=3.0))
        assert endpoints.allot(_each(1), 0.0) == {1: 3}
        _begin(endpoints, 1, 3)
        assert endpoints.allot(_each(1), 0.0) == {}
        assert abs(endpoints.next_at(_each(1), 0.0) - 1 / 3) < 1e-9
        assert endpoints.allot(_each(1), 0.34) == {1: 1}

    def test_less_than_one_a_second_is_one_at_a_time(self) -> None:
        endpoints = Endpoints(Limits(concurrency=100, endpoint_concurrency=10, endpoint_rate=0.1))
        _begin(endpoints, 1, 1)
        endpoints.end(_at(1), 0.0, Verdict.WORKS)
        assert endpoints.allot(_each(1), 9.9) == {}
        assert endpoints.next_at(_each(1), 0.0) == 10.0
        assert endpoints.allot(_each(1), 10.01) == {1: 1}


class TestBreaker:
    def test_it_opens_after_failures_in_a_row(self) -> None:
        endpoints = Endpoints(_LIMITS)
        _fail(endpoints, 1, 2)
        assert endpoints.allot(_each(1), 0.0) == {1: 4}
        _fail(endpoints, 1, 1)
        assert endpoints.allot(_each(1, 2), 29.9) == {2: 4}
        assert endpoints.left_alone() == [1]
        assert endpoints.next_at(_each(1), 0.0) == 30.0

    def test_a_success_begins_the_count_anew(self) -> None:
        endpoints = Endpoints(_LIMITS)
        _fail(endpoints, 1, 2)
        endpoints.begin(_at(1), 0.0)
        endpoints.end(_at(1), 0.0, Verdict.WORKS)
        _fail(endpoints, 1, 2)
        assert endpoints.allot(_each(1), 0.0) == {1: 4}

    def test_after_the_pause_one_is_let_through(self) -> None:
        endpoints = Endpoints(_LIMITS)
        _fail(endpoints, 1, 3)
        assert endpoints.allot(_each(1), 30.0) == {1: 1}
        endpoints.begin(_at(1), 30.0)
        assert endpoints.allot(_each(1), 31.0) == {}
        assert endpoints.next_at(_each(1), 31.0) == inf

    def test_the_one_that_succeeds_closes_it(self) -> None:
        endpoints = Endpoints(_LIMITS)
        _fail(endpoints, 1, 3)
        endpoints.begin(_at(1), 30.0)
        endpoints.end(_at(1), 31.0, Verdict.WORKS)
        assert endpoints.allot(_each(1), 31.0) == {1: 4}
        assert endpoints.left_alone() == []

    def test_the_one_that_fails_begins_the_pause_anew(self) -> None:
        endpoints = Endpoints(_LIMITS)
        _fail(endpoints, 1, 3)
        endpoints.begin(_at(1), 30.0)
        endpoints.end(_at(1), 31.0, Verdict.FAILS)
        assert endpoints.allot(_each(1), 60.9) == {}
        assert endpoints.allot(_each(1), 61.0) == {1: 1}

    def test_one_that_says_nothing_changes_nothing(self) -> None:
        endpoints = Endpoints(_LIMITS)
        for _ in range(10):
            endpoints.begin(_at(1), 0.0)
            endpoints.end(_at(1), 0.0, Verdict.UNKNOWN)
        assert endpoints.allot(_each(1), 0.0) == {1: 4}

    def test_without_a_number_it_never_opens(self) -> None:
        endpoints = Endpoints(Limits(concurrency=20, endpoint_concurrency=4))
        _fail(endpoints, 1, 100)
        assert endpoints.allot(_each(1), 0.0) == {1: 4}


class TestForget:
    def test_an_endpoint_that_failed_long_ago_is_as_new(self) -> None:
        endpoints = Endpoints(_LIMITS)
        _fail(endpoints, 1, 2)
        endpoints.forget(301.0)
        _fail(endpoints, 1, 2, 301.0)
        assert endpoints.allot(_each(1), 301.0) == {1: 4}

    def test_an_endpoint_that_is_left_alone_is_remembered(self) -> None:
        endpoints = Endpoints(_LIMITS)
        _fail(endpoints, 1, 3)
        endpoints.forget(29.0)
        assert endpoints.allot(_each(1), 29.0) == {}

    def test_an_endpoint_that_runs_is_remembered(self) -> None:
        endpoints = Endpoints(_LIMITS)
        _begin(endpoints, 1, 4)
        endpoints.forget(1e6)
        assert endpoints.allot(_each(1), 1e6) == {}


class EndpointsMachine(RuleBasedStateMachine):
    """Whatever happens, nobody gets more than the limits say, and nobody is left alone for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = Limits(
            concurrency=7, endpoint_concurrency=3, endpoint_rate=2.0, breaker_failures=2, breaker_pause_s=5.0
        )
        self.endpoints = Endpoints(self.limits)
        self.projects = {number: f"project-{number // 2}" for number in range(4)}
        self.now = 0.0
        self.running: list[int] = []
        self.begun: list[tuple[int, float]] = []
        # How many failed in a row, and when the last of them did.
        self.failures = dict.fromkeys(range(4), 0)
        self.failed_at = dict.fromkeys(range(4), -inf)

    def _of(self, wanted: list[int]) -> dict[int, str]:
        return {number: self.projects[number] for number in wanted}

    def _at(self, number: int) -> Place:
        return Place(number, self.projects[number], "")

    @rule(wanted=st.lists(st.integers(0, 3), unique=True))
    def allot(self, wanted: list[int]) -> None:
        for number, room in self.endpoints.allot(self._of(wanted), self.now).items():
            assert room > 0
            if self.failures[number] >= 2:
                assert room == 1
                assert number not in self.running
                assert self.now >= self.failed_at[number] + 5.0
            for _ in range(room):
                self.endpoints.begin(self._at(number), self.now)
                self.running.append(number)
                self.begun.append((number, self.now))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), verdict=st.sampled_from(Verdict))
    def end(self, data: st.DataObject, verdict: Verdict) -> None:
        number = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        self.endpoints.end(self._at(number), self.now, verdict)
        if verdict is Verdict.WORKS:
            self.failures[number] = 0
        elif verdict is not Verdict.UNKNOWN:
            self.failures[number] += 1
            self.failed_at[number] = self.now

    @rule(seconds=st.floats(0.01, 3.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def forget(self) -> None:
        self.endpoints.forget(self.now)

    @invariant()
    def nobody_has_more_than_may_be(self) -> None:
        assert self.endpoints.running == len(self.running) <= 7
        for number in range(4):
            assert self.running.count(number) <= 3
            project = self.projects[number]
            assert sum(self.projects[each] == project for each in self.running) <= 5
            recent = [at for each, at in self.begun if each == number and at > self.now - 1.0]
            # A burst, and what was earned since.
            assert len(recent) <= 4

    @invariant()
    def who_may_begin_is_not_told_to_wait(self) -> None:
        for number in range(4):
            if self.endpoints.allot(self._of([number]), self.now):
                assert self.endpoints.next_at(self._of([number]), self.now) in (self.now, inf)
                continue
            # Whoever waits for an answer must not ask again at once.
            assert self.endpoints.next_at(self._of([number]), self.now) > self.now
            if not self.running:
                at = self.endpoints.next_at(self._of([number]), self.now)
                assert self.now < at < inf
                assert self.endpoints.allot(self._of([number]), at + 1e-6)


TestAnything = EndpointsMachine.TestCase
