"""The subscription index against a naive scan of every connection: same receivers, same subscription IDs.

Once over seeded random events (100,000 with ``--thorough``), with changes in between, and once as a hypothesis
state machine, which shrinks whatever it finds to the few steps that show it.
"""

import functools
import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from realtime.hub.index import Subscriber, SubscriptionIndex
from realtime.queries import Filter, compile_filter

EVENTS = 5_000

ROLES = ["guests", "users", "user:1", "user:2", "user:1/verified", "team:red", "team:red/owner", "label:vip"]
EVENT_ROLES = [*ROLES, "team:none", "any"]

IDS = ["posts", "notes"]
EVENT_CHANNELS = [
    *["rows", "rows.create", "documents", "account", "account.1", "account.2", "account.1.update"],
    *["teams", "teams.create", "teams.red", "teams.blue", "teams.red.create"],
    *[f"tablesdb.{d}.tables.{t}.rows" for d, t in itertools.product(IDS, IDS)],
    *[f"tablesdb.{d}.tables.{t}.rows.1" for d, t in itertools.product(IDS, IDS)],
    *[f"databases.{d}.collections.{c}.documents.create" for d, c in itertools.product(IDS, IDS)],
]
WILDCARDS = [
    *["teams.*", "teams.*.create", "memberships.*", "buckets.*.files.*.create"],
    *["tablesdb.*.tables.*.rows", "tablesdb.posts.tables.*.rows", "tablesdb.*.tables.notes.rows"],
    *["tablesdb.*.tables.*.rows.*", "tablesdb.posts.tables.notes.rows.*", "tablesdb.notes.tables.*.rows.1"],
    *["databases.*.collections.*.documents.create", "databases.posts.collections.*.documents.create"],
]
NEVER_MATCHING = ["rows.*", "documents.*", "account.*", "po*", "*", "tablesdb.p*.tables.notes.rows"]
RENAMED_WILDCARDS = [name.replace("posts", "notes") for name in WILDCARDS]
CHANNELS = [*EVENT_CHANNELS, *WILDCARDS, *NEVER_MATCHING]


def query(method: str, attribute: str, *values: object) -> Filter | None:
    return compile_filter([json.dumps({"method": method, "attribute": attribute, "values": values})])


@dataclass(frozen=True)
class Query:
    """A compiled filter beside the same condition in plain Python."""

    text: str
    compiled: Filter | None
    passes: Callable[[Mapping[str, Any]], bool]


QUERIES = [
    Query("everything", None, lambda _: True),
    Query("open", query("equal", "status", "open"), lambda p: p.get("status") == "open"),
    Query("open or shut", query("equal", "status", "open", "shut"), lambda p: "status" in p),
    Query("not open", query("notEqual", "status", "open"), lambda p: p.get("status", "open") != "open"),
    Query("big", query("greaterThan", "size", 1), lambda p: p.get("size", 0) > 1),
]
PAYLOADS: list[dict[str, Any]] = [
    {},
    {"status": "open"},
    {"status": "shut", "size": 1},
    {"status": "open", "size": 2},
    {"size": 3},
]
RENAMES: list[Callable[[str], str]] = [
    lambda channel: channel.replace("account.1", "account.2"),
    lambda channel: channel.replace("account.2", "account.1"),
    lambda channel: channel.replace("posts", "notes"),
    lambda channel: channel,
]


@functools.cache
def covers(name: str, channel: str) -> bool:
    """Tell whether a subscribed name stands for an event's channel."""
    if name not in WILDCARDS and name not in RENAMED_WILDCARDS:
        return name == channel
    ours, theirs = name.split("."), channel.split(".")
    return len(ours) == len(theirs) and all(a in {"*", b} for a, b in zip(ours, theirs, strict=True))


@dataclass(eq=False)
class Person:
    """What the scan knows of one subscriber."""

    subscriber: Subscriber
    roles: frozenset[str]
    subscriptions: dict[str, dict[str, Query]] = field(default_factory=dict)

    def matching(self, channels: Sequence[str], payload: Mapping[str, Any]) -> list[str]:
        return [
            subscription_id
            for subscription_id, named in self.subscriptions.items()
            if any(
                covers(name, c) and query.passes(payload) for name, query in named.items() for c in channels
            )
        ]


class World:
    """An index, and the same told in plain dictionaries."""

    def __init__(self) -> None:
        self.index = SubscriptionIndex()
        self.people: list[Person] = []

    def add(self, roles: frozenset[str]) -> None:
        person = Person(Subscriber(roles), roles)
        self.index.add(person.subscriber)
        self.people.append(person)

    def remove(self, person: Person) -> None:
        self.index.remove(person.subscriber)
        self.people.remove(person)

    def set_roles(self, person: Person, roles: frozenset[str]) -> None:
        self.index.set_roles(person.subscriber, roles)
        person.roles = roles

    def subscribe(
        self, person: Person, subscription_id: str, channels: Sequence[str], condition: Query
    ) -> None:
        self.index.subscribe(person.subscriber, subscription_id, channels, condition.compiled)
        if channels:
            person.subscriptions.setdefault(subscription_id, {}).update(dict.fromkeys(channels, condition))

    def unsubscribe(self, person: Person, subscription_id: str) -> None:
        removed = person.subscriptions.pop(subscription_id, None) is not None
        assert self.index.unsubscribe(person.subscriber, subscription_id) == removed

    def rebind(self, person: Person, rename: Callable[[str], str]) -> None:
        self.index.rebind(person.subscriber, rename)
        person.subscriptions = {
            subscription_id: {rename(channel): query for channel, query in named.items()}
            for subscription_id, named in person.subscriptions.items()
        }

    def check_event(self, channels: Sequence[str], roles: Sequence[str], payload: Mapping[str, Any]) -> int:
        """Match an event both ways, and once more, when the index may know the answer; return how many receive it."""
        expected = {
            person.subscriber: matching
            for person in self.people
            if ("any" in roles or not person.roles.isdisjoint(roles))
            and (matching := person.matching(channels, payload))
        }
        for _ in range(2):
            receivers = self.index.match(channels, roles, lambda: payload)
            assert {
                who: [subscription.id for subscription in found] for who, found in receivers.items()
            } == expected
        return len(expected)

    def check_one(self, person: Person, channels: Sequence[str], payload: Mapping[str, Any]) -> None:
        found = self.index.match_one(person.subscriber, channels, lambda: payload)
        assert [subscription.id for subscription in found] == person.matching(channels, payload)

    def check_counts(self) -> None:
        assert len(self.index) == len(self.people)
        assert self.index.subscription_count == sum(len(person.subscriptions) for person in self.people)

    def check_nothing_left(self) -> None:
        """Remove everybody; the index must then be as new."""
        for person in list(self.people):
            self.remove(person)
        self.check_counts()
        assert self.index._roles._groups == {}
        assert self.index._channels._groups == {}
        assert self.index._wildcards._groups == {}
        assert self.index._shapes == {}
        assert self.index._names == {}


class RandomChanges:
    """Draws the next change of a world."""

    def __init__(self, world: World, rng: random.Random, size: int) -> None:
        self.world = world
        self.rng = rng
        self.size = size

    def draw_roles(self) -> frozenset[str]:
        return frozenset(self.rng.sample(ROLES, self.rng.randint(1, 3)))

    def make(self) -> None:
        world, rng = self.world, self.rng
        if len(world.people) < rng.randint(1, self.size):
            world.add(self.draw_roles())
        person = rng.choice(world.people)
        match rng.randrange(10):
            case 0:
                world.remove(person)
            case 1:
                world.set_roles(person, self.draw_roles())
            case 2:
                world.rebind(person, rng.choice(RENAMES))
            case 3 | 4:
                world.unsubscribe(person, rng.choice("abcd"))
            case _:
                channels = rng.sample(CHANNELS, rng.randint(0, 3))
                world.subscribe(person, rng.choice("abcd"), channels, rng.choice(QUERIES))


def random_events(
    rng: random.Random, number: int
) -> Iterator[tuple[Sequence[str], Sequence[str], Mapping[str, Any]]]:
    for _ in range(number):
        channels = rng.sample(EVENT_CHANNELS, rng.randint(1, 5))
        yield channels, rng.sample(EVENT_ROLES, rng.randint(0, 3)), rng.choice(PAYLOADS)


class TestAgainstScan:
    @pytest.mark.parametrize("seed", range(4))
    def test_random_events_have_the_receivers_that_a_scan_finds(self, seed: int, random_runs: int) -> None:
        rng = random.Random(seed)
        world = World()
        events = EVENTS * random_runs
        changes = RandomChanges(world, rng, size=4 + 12 * seed)
        changes.make()
        received = 0
        last: tuple[Sequence[str], Sequence[str], Mapping[str, Any]] = [], [], {}
        for channels, roles, payload in random_events(rng, events):
            if rng.random() < 0.4:
                changes.make()
                # What was found last must not be taken for what is there now.
                world.check_event(*last)
            last = channels, roles, payload
            received += world.check_event(channels, roles, payload) > 0
            if world.people and rng.random() < 0.1:
                world.check_one(rng.choice(world.people), channels, payload)
        world.check_counts()
        world.check_nothing_left()
        assert 0.1 < received / events < 0.95, "the events are too much alike to show anything"


class IndexMachine(RuleBasedStateMachine):
    """Any sequence of changes and events."""

    people = st.integers(0, 9)
    subscription_ids = st.sampled_from("ab")
    roles = st.frozensets(st.sampled_from(ROLES), max_size=3)
    event_channels = st.lists(st.sampled_from(EVENT_CHANNELS), max_size=4, unique=True)
    payloads = st.sampled_from(PAYLOADS)

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.last: tuple[Sequence[str], Sequence[str], Mapping[str, Any]] = [], [], {}

    def person(self, number: int) -> Person:
        return self.world.people[number % len(self.world.people)]

    def has_people(self) -> bool:
        return bool(self.world.people)

    @rule(roles=roles)
    def add(self, roles: frozenset[str]) -> None:
        self.world.add(roles)

    @precondition(has_people)
    @rule(number=people)
    def remove(self, number: int) -> None:
        self.world.remove(self.person(number))

    @precondition(has_people)
    @rule(number=people, roles=roles)
    def set_roles(self, number: int, roles: frozenset[str]) -> None:
        self.world.set_roles(self.person(number), roles)

    @precondition(has_people)
    @rule(
        number=people,
        subscription_id=subscription_ids,
        channels=st.lists(st.sampled_from(CHANNELS), max_size=4),
        condition=st.sampled_from(QUERIES),
    )
    def subscribe(self, number: int, subscription_id: str, channels: list[str], condition: Query) -> None:
        self.world.subscribe(self.person(number), subscription_id, channels, condition)

    @precondition(has_people)
    @rule(number=people, subscription_id=subscription_ids)
    def unsubscribe(self, number: int, subscription_id: str) -> None:
        self.world.unsubscribe(self.person(number), subscription_id)

    @precondition(has_people)
    @rule(number=people, rename=st.sampled_from(RENAMES))
    def rebind(self, number: int, rename: Callable[[str], str]) -> None:
        self.world.rebind(self.person(number), rename)

    @rule(channels=event_channels, roles=st.lists(st.sampled_from(EVENT_ROLES), max_size=3), payload=payloads)
    def event(self, channels: list[str], roles: list[str], payload: dict[str, Any]) -> None:
        self.world.check_event(channels, roles, payload)
        self.last = channels, roles, payload

    @invariant()
    def same_event_again(self) -> None:
        """Whatever has changed since, the last event has the receivers that it has now."""
        self.world.check_event(*self.last)

    @precondition(has_people)
    @rule(number=people, channels=event_channels, payload=payloads)
    def replayed_event(self, number: int, channels: list[str], payload: dict[str, Any]) -> None:
        self.world.check_one(self.person(number), channels, payload)

    @invariant()
    def counts_are_true(self) -> None:
        self.world.check_counts()

    def teardown(self) -> None:
        self.world.check_nothing_left()


TestIndexMachine = IndexMachine.TestCase
TestIndexMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
