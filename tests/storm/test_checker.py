"""The checker of storms finds each kind of fault: it would be no use if it did not."""

from collections.abc import Sequence

import pytest

from tests.storm.checker import Found, Logged, Wanted, check
from tests.storm.endpoints import UNANSWERED, Seen

WANTED = {
    "a": Wanted(frozenset({1, 2}), is_hopeless=False, was_disabled=False),
    "b": Wanted(frozenset({1, 2}), is_hopeless=True, was_disabled=True),
}
LOGGED = (
    Logged("a1", "a", 1, "delivered", 1, (204,)),
    Logged("a2", "a", 2, "delivered", 4, (500, UNANSWERED, 204)),
    Logged("b1", "b", 1, "dead", 1, (410,)),
)
SEEN = (
    Seen("a", "a1", 1, 204),
    Seen("a", "a2", 2, 500),
    Seen("a", "a2", 2, 204),
    # Whoever had made this attempt was killed.
    Seen("a", "a2", 2, 204),
    Seen("b", "b1", 1, 410),
)


def test_storm_that_went_well_has_no_faults() -> None:
    found = check(WANTED, LOGGED, SEEN)
    assert found == Found([], delivered=2, dead=1, requests=5, repeated=1, unlogged=1, cut_off=1)


@pytest.mark.parametrize(
    ("logged", "seen", "fault"),
    [
        (LOGGED[1:], SEEN[1:], "a: event 1 has no delivery"),
        ((*LOGGED, LOGGED[0]._replace(id="a3")), SEEN, "a: event 1 has 2 deliveries"),
        ((*LOGGED, LOGGED[0]._replace(number=3)), SEEN, "a: event 3 was not published to it"),
        (LOGGED, (*SEEN, Seen("a", "a3", 1, 204)), "a: saw event 1 as a3, in the log it is a1"),
        (LOGGED, (*SEEN, Seen("b", "b2", 2, 410)), "b: saw event 2 as b2, in the log it is None"),
        ((*LOGGED[1:], LOGGED[0]._replace(status="pending")), SEEN, "a: event 1 is pending after 1 attempts"),
        ((*LOGGED[1:], LOGGED[0]._replace(status="dead")), SEEN, "a: event 1 is dead, taken 1 times"),
        (LOGGED, SEEN[1:], "a: event 1 is delivered, taken 0 times"),
        (LOGGED, (SEEN[0], *SEEN[2:]), "a: event 2 was not answered 500 1 times"),
        (
            (*LOGGED[1:], LOGGED[0]._replace(attempts=0)),
            SEEN,
            "a: event 1 counts 0 attempts of 1 in the log, 1 seen",
        ),
        (LOGGED, (*SEEN, SEEN[0]), "a: event 1 counts 1 attempts of 1 in the log, 2 seen"),
    ],
)
def test_each_fault_is_named(logged: Sequence[Logged], seen: Sequence[Seen], fault: str) -> None:
    assert fault in check(WANTED, logged, seen).faults


def test_webhook_that_was_disabled_for_nothing_is_a_fault() -> None:
    disabled = Wanted(frozenset({1, 2}), is_hopeless=False, was_disabled=True)
    assert check(WANTED | {"a": disabled}, LOGGED, SEEN).faults == ["a: was disabled"]
