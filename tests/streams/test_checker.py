"""The stream checker against streams that are right by construction, and against each fault put into them.

The oracle is a run in which everything happens at a known tick: an event is seen exactly if the roles held at that
tick may read it. The checker is told less, spans around those ticks, and must find nothing wrong; a fault that is
put in where the spans leave no doubt must be found, and named.
"""

import dataclasses
import math
from typing import NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tests.streams.checker import (
    ANY,
    Epoch,
    Fault,
    Kind,
    Published,
    Seen,
    Span,
    Stream,
    check,
    required,
)

CHANNELS = ("rows", "files", "teams")
ROLES = ("team:red", "team:blue", "user:ann")
ROWS = frozenset({"rows"})
RED, BLUE = frozenset({"team:red"}), frozenset({"team:blue"})

few = settings(max_examples=25)
"""Runs take a while to make up, and each of them holds many events."""


class Run(NamedTuple):
    """What was published, a stream in which nothing is wrong, and what is beyond doubt about it."""

    published: list[Published]
    stream: Stream
    certain: list[int]
    """Numbers whose spans touch neither a change of roles nor the opening."""
    readable: set[int]
    """Numbers that the client was to see."""

    def with_seen(self, seen: list[Seen]) -> Stream:
        return dataclasses.replace(self.stream, seen=seen)

    def faults(self, seen: list[Seen]) -> list[Fault]:
        return check(self.published, self.with_seen(seen))


@st.composite
def runs(draw: st.DrawFn, *, repeats: bool = False) -> Run:
    """Ten ticks a step; each step publishes or changes the roles, at its own tick, known to within its span."""
    channels = draw(st.frozensets(st.sampled_from(CHANNELS), min_size=1, max_size=2))
    roles = draw(st.frozensets(st.sampled_from(ROLES)))
    epochs = [Epoch(roles, Span(-math.inf, -math.inf))]
    published: list[Published] = []
    seen: list[Seen] = []
    readable: set[int] = set()
    connection = 0
    for step in range(draw(st.integers(1, 16))):
        tick = 10.0 * step
        when = Span(tick - draw(st.integers(0, 12)), tick + draw(st.integers(0, 12)))
        action = draw(st.sampled_from(("publish", "publish", "publish", "change", "cut")))
        if action == "change":
            roles = draw(st.frozensets(st.sampled_from(ROLES)))
            epochs.append(Epoch(roles, when))
        elif action == "cut":
            connection += 1
            if repeats:
                since = draw(st.integers(0, len(published)))
                again = {entry.number: entry for entry in seen if entry.number >= since}
                seen += [again[number]._replace(connection=connection, tick=tick) for number in sorted(again)]
        else:
            event = Published(
                number=len(published),
                id=f"{step + 1}-0",
                channels=draw(st.frozensets(st.sampled_from(CHANNELS), min_size=1)),
                roles=draw(st.frozensets(st.sampled_from((*ROLES, ANY)), min_size=1, max_size=2)),
                when=when,
            )
            published.append(event)
            if event.channels & channels and (ANY in event.roles or event.roles & roles):
                seen.append(Seen(event.number, event.id, connection, tick))
                readable.add(event.number)
    changes = [epoch.since for epoch in epochs[1:]]
    certain = [
        event.number
        for event in published
        if all(event.when.ended < since.began or since.ended < event.when.began for since in changes)
    ]
    stream = Stream("s", channels, epochs, seen=seen, repeats_unconfirmed=repeats)
    return Run(published, stream, certain, readable)


class TestCheck:
    @few
    @given(runs())
    def test_right_stream_has_no_fault(self, run: Run) -> None:
        assert check(run.published, run.stream) == []

    @few
    @given(runs())
    def test_required_is_what_is_readable_as_far_as_it_is_beyond_doubt(self, run: Run) -> None:
        numbers = required(run.published, run.stream)
        assert run.readable.intersection(run.certain) <= numbers <= run.readable

    @few
    @given(runs(), st.data())
    def test_lost_event_is_found(self, run: Run, data: st.DataObject) -> None:
        choices = sorted(run.readable.intersection(run.certain))
        if choices:
            lost = data.draw(st.sampled_from(choices))
            seen = [entry for entry in run.stream.seen if entry.number != lost]
            assert run.faults(seen) == [Fault(Kind.LOST, "s", lost)]

    @few
    @given(runs(), st.data())
    def test_leaked_event_is_found(self, run: Run, data: st.DataObject) -> None:
        choices = sorted(set(run.certain) - run.readable)
        if choices:
            leaked = run.published[data.draw(st.sampled_from(choices))]
            later = [entry for entry in run.stream.seen if entry.number > leaked.number]
            entry = Seen(leaked.number, leaked.id, later[0].connection if later else 99, leaked.when.ended)
            seen = sorted([*run.stream.seen, entry], key=lambda entry: entry.number)
            assert run.faults(seen) == [Fault(Kind.LEAKED, "s", leaked.number)]

    @few
    @given(runs(), st.data())
    def test_repeated_event_is_found(self, run: Run, data: st.DataObject) -> None:
        if run.stream.seen:
            index = data.draw(st.integers(0, len(run.stream.seen) - 1))
            again = data.draw(st.integers(index + 1, len(run.stream.seen)))
            seen = run.stream.seen.copy()
            seen.insert(again, seen[index]._replace(connection=seen[again - 1].connection))
            found = run.faults(seen)
            assert [(fault.kind, fault.number) for fault in found] == [(Kind.REPEATED, seen[index].number)]

    @few
    @given(runs(), st.data())
    def test_swapped_events_are_found(self, run: Run, data: st.DataObject) -> None:
        if len(run.stream.seen) >= 2:
            index = data.draw(st.integers(0, len(run.stream.seen) - 2))
            seen = run.stream.seen.copy()
            seen[index], seen[index + 1] = seen[index + 1], seen[index]
            found = run.faults(seen)
            assert [(fault.kind, fault.number) for fault in found] == [
                (Kind.REORDERED, seen[index + 1].number)
            ]

    @few
    @given(runs(), st.data())
    def test_event_that_nobody_published_is_found(self, run: Run, data: st.DataObject) -> None:
        made_up = data.draw(st.sampled_from([Seen(1000, "1-0", 0, 0.0), Seen(0, "nonsense", 0, 0.0)]))
        found = check(run.published, run.with_seen([made_up, *run.stream.seen]))
        assert (Kind.ALTERED, made_up.number) in [(fault.kind, fault.number) for fault in found]


class TestRepeats:
    @few
    @given(runs(repeats=True))
    def test_unconfirmed_events_may_come_again_on_the_next_connection(self, run: Run) -> None:
        assert check(run.published, run.stream) == []

    @few
    @given(runs(repeats=True))
    def test_without_leave_each_of_them_is_a_fault(self, run: Run) -> None:
        stream = dataclasses.replace(run.stream, repeats_unconfirmed=False)
        numbers = [entry.number for entry in stream.seen]
        repeats = [number for index, number in enumerate(numbers) if number in numbers[:index]]
        assert [(fault.kind, fault.number) for fault in check(run.published, stream)] == [
            (Kind.REPEATED, number) for number in repeats
        ]

    @pytest.fixture
    def published(self) -> list[Published]:
        return [
            Published(number, f"{number + 1}-0", ROWS, frozenset({ANY}), Span(number, number))
            for number in range(4)
        ]

    def stream(self, *entries: tuple[int, int], confirmed: tuple[tuple[int, int], ...] = ()) -> Stream:
        seen = [Seen(number, f"{number + 1}-0", connection, 0.0) for number, connection in entries]
        epochs = [Epoch(frozenset(), Span(-math.inf, -math.inf))]
        return Stream("s", ROWS, epochs, seen=seen, repeats_unconfirmed=True, confirmed=list(confirmed))

    def test_confirmed_event_must_not_come_again(self, published: list[Published]) -> None:
        stream = self.stream((0, 0), (1, 0), (2, 0), (1, 1), (2, 1), (3, 1), confirmed=((0, 2),))
        assert [(f.kind, f.number) for f in check(published, stream)] == [(Kind.REPEATED, 1)]

    def test_what_was_confirmed_on_the_connection_that_repeats_does_not_matter(
        self, published: list[Published]
    ) -> None:
        stream = self.stream((0, 0), (1, 0), (2, 0), (1, 1), (2, 1), (3, 1), confirmed=((0, 1), (1, 6)))
        assert check(published, stream) == []

    def test_nothing_may_be_repeated_on_the_connection_that_showed_it(
        self, published: list[Published]
    ) -> None:
        stream = self.stream((0, 0), (1, 0), (1, 0), (2, 0), (3, 0))
        assert [(f.kind, f.number) for f in check(published, stream)] == [(Kind.REPEATED, 1)]

    def test_repeats_come_in_order(self, published: list[Published]) -> None:
        stream = self.stream((0, 0), (1, 0), (2, 0), (2, 1), (1, 1), (3, 1))
        assert [(f.kind, f.number) for f in check(published, stream)] == [(Kind.REPEATED, 1)]


class TestDelayed:
    """A client that was away is served under the roles that it has when it is back."""

    def stream(self, first: frozenset[str], second: frozenset[str], *seen: Seen) -> Stream:
        epochs = [Epoch(first, Span(-math.inf, -math.inf)), Epoch(second, Span(10, 11))]
        return Stream("s", ROWS, epochs, is_delayed=True, seen=list(seen))

    @pytest.fixture
    def published(self) -> list[Published]:
        return [
            Published(0, "1-0", ROWS, RED, Span(1, 2)),
            Published(1, "2-0", ROWS, frozenset({ANY}), Span(3, 4)),
        ]

    @pytest.mark.parametrize("shown", [True, False])
    def test_change_while_it_was_away_leaves_both_open(self, published: list[Published], shown: bool) -> None:
        late = [Seen(0, "1-0", 1, 20.0)] if shown else []
        last = Seen(1, "2-0", 1, 20.0)
        assert check(published, self.stream(RED, BLUE, *late, last)) == []
        assert check(published, self.stream(BLUE, RED, *late, last)) == []

    def test_what_it_could_never_read_is_leaked(self, published: list[Published]) -> None:
        stream = self.stream(BLUE, frozenset(), Seen(0, "1-0", 1, 20.0), Seen(1, "2-0", 1, 20.0))
        assert check(published, stream) == [Fault(Kind.LEAKED, "s", 0)]

    def test_what_it_had_passed_before_the_change_was_due(self, published: list[Published]) -> None:
        stream = self.stream(RED, BLUE, Seen(1, "2-0", 0, 5.0))
        assert check(published, stream) == [Fault(Kind.LOST, "s", 0)]
        stream = self.stream(BLUE, RED, Seen(0, "1-0", 0, 5.0), Seen(1, "2-0", 0, 5.0))
        assert check(published, stream) == [Fault(Kind.LEAKED, "s", 0)]

    @pytest.mark.parametrize(
        ("first", "second", "confirmed", "faults"),
        [
            (BLUE, RED, [], []),
            (BLUE, BLUE, [], [(Kind.LEAKED, 0)]),
            (RED, RED, [], [(Kind.REORDERED, 0)]),
            (BLUE, RED, [(0, 1)], [(Kind.REORDERED, 0), (Kind.REPEATED, 1)]),
        ],
        ids=["gained the role", "never had it", "always had it", "had confirmed what follows"],
    )
    def test_what_is_sent_again_includes_what_has_become_readable(
        self,
        published: list[Published],
        first: frozenset[str],
        second: frozenset[str],
        confirmed: list[tuple[int, int]],
        faults: list[tuple[Kind, int]],
    ) -> None:
        stream = self.stream(
            first, second, Seen(1, "2-0", 0, 5.0), Seen(0, "1-0", 1, 20.0), Seen(1, "2-0", 1, 21.0)
        )
        stream.repeats_unconfirmed, stream.confirmed = True, confirmed
        assert [(fault.kind, fault.number) for fault in check(published, stream)] == faults


class TestOpening:
    def test_events_published_meanwhile_are_undecided_and_earlier_ones_leaked(self) -> None:
        published = [
            Published(0, "1-0", ROWS, frozenset({ANY}), Span(1, 2)),
            Published(1, "2-0", ROWS, frozenset({ANY}), Span(4, 5)),
            Published(2, "3-0", ROWS, frozenset({ANY}), Span(7, 8)),
        ]
        epochs = [Epoch(frozenset(), Span(-math.inf, -math.inf))]
        stream = Stream("s", ROWS, epochs, opened=Span(3, 6))
        assert check(published, stream) == [Fault(Kind.LOST, "s", 2)]
        stream.seen = [Seen(event.number, event.id, 0, 9.0) for event in published]
        assert check(published, stream) == [Fault(Kind.LEAKED, "s", 0)]


class TestReloaded:
    def test_what_was_published_before_need_not_be_shown_and_may_be(self) -> None:
        published = [
            Published(number, f"{number + 1}-0", ROWS, frozenset({ANY}), Span(began, began + 1))
            for number, began in enumerate((1, 4, 7))
        ]
        epochs = [Epoch(frozenset(), Span(-math.inf, -math.inf))]
        stream = Stream("s", ROWS, epochs, reloaded=5)
        assert check(published, stream) == [Fault(Kind.LOST, "s", 2)]
        stream.seen = [Seen(1, "2-0", 0, 8.0), Seen(2, "3-0", 0, 9.0)]
        assert check(published, stream) == []


class TestUncertain:
    @pytest.mark.parametrize("seen", [[], [Seen(0, "1-0", 0, 3.0)]])
    def test_event_that_redis_lost_may_be_seen_or_not(self, seen: list[Seen]) -> None:
        published = [Published(0, "1-0", ROWS, frozenset({ANY}), Span(1, 2), is_certain=False)]
        epochs = [Epoch(frozenset(), Span(-math.inf, -math.inf))]
        assert check(published, Stream("s", ROWS, epochs, seen=seen)) == []


class TestWithoutIds:
    """Some clients are not told the IDs of events; their numbers say as much."""

    @few
    @given(runs(), st.data())
    def test_faults_are_the_same(self, run: Run, data: st.DataObject) -> None:
        seen = data.draw(st.permutations(run.stream.seen))[1:]
        bare = [entry._replace(id="") for entry in seen]
        assert run.faults(bare) == run.faults(seen)
