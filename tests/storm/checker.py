"""Compares the log of deliveries with what endpoints saw, and with what was published. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tests.storm.endpoints import UNANSWERED, Seen


class Logged(NamedTuple):
    """One delivery, as the log has it in the end."""

    id: str
    endpoint: str
    number: int
    """Of the event."""
    status: str
    attempts: int
    """How many were begun, by the delivery's own count: also those that nobody lived to record."""
    answers: tuple[int, ...]
    """The status code of each attempt in the log; ``UNANSWERED`` for no response."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one endpoint has to do with a storm."""

    numbers: frozenset[int]
    """Of the events that its webhook is to be called for."""
    is_hopeless: bool
    """Whether nothing can arrive there."""
    was_disabled: bool
    """Whether its webhook was disabled meanwhile."""


class Found(NamedTuple):
    """What became of a storm."""

    faults: list[str]
    """In words; empty when everything is as it should be."""
    delivered: int
    dead: int
    requests: int
    """How many requests endpoints saw."""
    repeated: int
    """How many of them brought what the endpoint had taken before."""
    unlogged: int
    """How many answers of endpoints are not in the log: nobody lived to write them there."""
    cut_off: int
    """How many attempts were begun and are not in the log."""


def check(wanted: Mapping[str, Wanted], logged: Collection[Logged], seen: Collection[Seen]) -> Found:
    """Return what is wrong, and how much there was of everything.

    Args:
        wanted: By the names of endpoints.
        logged: Every delivery of the log.
        seen: Every request that an endpoint saw.
    """
    answers = Counter((each.delivery_id, each.status) for each in seen if each.status != UNANSWERED)
    taken = Counter(each.delivery_id for each in seen if _is_taken(each.status))
    in_log = sum(status != UNANSWERED for each in logged for status in each.answers)
    faults = [
        *_faults_of_recording(wanted, logged),
        *_faults_of_ids(logged, seen),
        *_faults_of_ends(wanted, logged, taken),
        *_faults_of_attempts(logged, answers, Counter(each.delivery_id for each in seen)),
    ]
    return Found(
        faults,
        delivered=sum(each.status == "delivered" for each in logged),
        dead=sum(each.status == "dead" for each in logged),
        requests=len(seen),
        repeated=taken.total() - len(taken),
        unlogged=answers.total() - in_log,
        cut_off=sum(each.attempts - len(each.answers) for each in logged),
    )


def _is_taken(status: int) -> bool:
    return 200 <= status < 300


def _faults_of_recording(wanted: Mapping[str, Wanted], logged: Iterable[Logged]) -> Iterator[str]:
    """Find what was not recorded, recorded twice, or recorded and never published."""
    recorded = Counter((each.endpoint, each.number) for each in logged)
    for (endpoint, number), times in recorded.items():
        if number not in wanted[endpoint].numbers:
            yield f"{endpoint}: event {number} was not published to it"
        if times > 1:
            yield f"{endpoint}: event {number} has {times} deliveries"
    for endpoint, wants in wanted.items():
        # Webhooks that are disabled are for nothing that comes then.
        if not wants.was_disabled:
            missing = [number for number in wants.numbers if not recorded[endpoint, number]]
            yield from (f"{endpoint}: event {number} has no delivery" for number in sorted(missing))
        elif not wants.is_hopeless:
            yield f"{endpoint}: was disabled"


def _faults_of_ids(logged: Iterable[Logged], seen: Iterable[Seen]) -> Iterator[str]:
    """Find requests whose ID is not that of their delivery, which they all have."""
    ids = {(each.endpoint, each.number): each.id for each in logged}
    for each in seen:
        expected = ids.get((each.endpoint, each.number))
        if each.delivery_id != expected:
            yield f"{each.endpoint}: saw event {each.number} as {each.delivery_id}, in the log it is {expected}"


def _faults_of_ends(
    wanted: Mapping[str, Wanted], logged: Iterable[Logged], taken: Mapping[str, int]
) -> Iterator[str]:
    """Find what has not ended as it should have, or not as the endpoint thinks."""
    for each in logged:
        expected = "dead" if wanted[each.endpoint].is_hopeless else "delivered"
        if each.status != expected:
            yield f"{each.endpoint}: event {each.number} is {each.status} after {each.attempts} attempts"
        if (each.status == "delivered") != (each.id in taken):
            yield f"{each.endpoint}: event {each.number} is {each.status}, taken {taken.get(each.id, 0)} times"


def _faults_of_attempts(
    logged: Iterable[Logged], answers: Mapping[tuple[str, int], int], requests: Mapping[str, int]
) -> Iterator[str]:
    """Find attempts in the log that no endpoint saw, and requests that nobody has counted as attempts."""
    for each in logged:
        about, seen = f"{each.endpoint}: event {each.number}", requests.get(each.id, 0)
        if each.attempts < max(len(each.answers), seen):
            yield f"{about} counts {each.attempts} attempts of {len(each.answers)} in the log, {seen} seen"
        for status, times in Counter(each.answers).items():
            if status != UNANSWERED and times > answers.get((each.id, status), 0):
                yield f"{about} was not answered {status} {times} times"
