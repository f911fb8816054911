"""Threads that are shared."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from functools import partial

import pytest

from workers.outbound.lanes import Lane, LaneFullError

PATIENT_S = 5.0


class Work:
    """Waits until it is let go, and notes who began."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.begun: list[str] = []

    def __call__(self, name: str) -> str:
        self.begun.append(name)
        self.let_go.wait(PATIENT_S)
        return name


@pytest.fixture
def work() -> Iterator[Work]:
    work = Work()
    yield work
    work.let_go.set()


def quick() -> str:
    return "done"


def submit(lane: Lane, work: Work, *names: str) -> list[Future[str]]:
    """Have work done whose owner is the first letter of its name."""
    return [lane.submit(name[0], partial(work, name)) for name in names]


def results(futures: list[Future[str]]) -> list[str]:
    assert not wait_for(futures, PATIENT_S).not_done
    return [future.result() for future in futures]


def until_idle(lane: Lane, work: Work, futures: list[Future[str]]) -> None:
    work.let_go.set()
    wait_for(futures, PATIENT_S)
    assert lane.submit("z", quick).result(PATIENT_S) == "done"


class TestLane:
    def test_outcome_or_error_comes_back(self) -> None:
        def fail() -> None:
            raise OSError("no")

        lane = Lane(1, 0, "test-lane")
        assert lane.submit("a", quick).result(PATIENT_S) == "done"
        with pytest.raises(OSError, match="no"):
            lane.submit("a", fail).result(PATIENT_S)
        assert lane.submit("a", quick).result(PATIENT_S) == "done"

    def test_one_owner_leaves_threads_to_others(self, work: Work) -> None:
        lane = Lane(16, 100, "test-lane")
        futures = submit(lane, work, *(f"a{number}" for number in range(20)))
        assert lane.submit("b", quick).result(PATIENT_S) == "done"
        assert sorted(work.begun) == ["a0", "a1"]
        work.let_go.set()
        assert results(futures) == [f"a{number}" for number in range(20)]

    def test_one_owner_leaves_places_to_others(self, work: Work) -> None:
        lane = Lane(1, 7, "test-lane")
        submit(lane, work, "a1", "a2")
        with pytest.raises(LaneFullError):
            submit(lane, work, "a3")
        submit(lane, work, "b1", "b2", "c1", "c2", "d1", "d2")
        with pytest.raises(LaneFullError):
            submit(lane, work, "e1")

    def test_owners_take_turns(self, work: Work) -> None:
        lane = Lane(1, 100, "test-lane")
        futures = submit(lane, work, "a1", "a2", "a3", "b1", "b2", "c1")
        work.let_go.set()
        results(futures)
        assert work.begun == ["a1", "a2", "b1", "c1", "a3", "b2"]

    def test_what_is_cancelled_while_it_waits_gives_its_place_back(self, work: Work) -> None:
        lane = Lane(1, 7, "test-lane")
        first, second = submit(lane, work, "a1", "a2")
        assert second.cancel()
        (third,) = submit(lane, work, "a3")
        with pytest.raises(LaneFullError):
            submit(lane, work, "a4")
        until_idle(lane, work, [first, third])
        assert work.begun == ["a1", "a3"]

    def test_what_has_begun_is_not_cancelled(self, work: Work, eventually: Callable[..., None]) -> None:
        lane = Lane(1, 7, "test-lane")
        (first,) = submit(lane, work, "a1")
        eventually(lambda: bool(work.begun))
        assert not first.cancel()
        work.let_go.set()
        assert results([first]) == ["a1"]

    def test_nothing_is_kept_of_owners_that_are_done(self, work: Work) -> None:
        lane = Lane(2, 100, "test-lane")
        futures = submit(lane, work, "a1", "b1", "c1", "a2")
        futures[-1].cancel()
        until_idle(lane, work, futures)
        assert (len(lane._asked), len(lane._running), len(lane._waiting)) == (0, 0, 0)


@pytest.fixture
def eventually() -> Callable[..., None]:
    def wait(condition: Callable[[], bool]) -> None:
        done = threading.Event()
        for _ in range(5_000):
            if condition():
                return
            done.wait(0.001)
        raise AssertionError("It did not come to be.")

    return wait
