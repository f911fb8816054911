"""However events are gathered, planned and joined: each connection is sent the same bytes as one by one."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from realtime.events.event import LiveMessage
from realtime.hub.confirm import Confirmations
from realtime.hub.connection import Connection
from realtime.hub.decoding import DecodedEvent, EventParts
from realtime.hub.deflate import Compressor
from realtime.hub.delivery import Delivery
from realtime.hub.frames import EventFrame
from realtime.hub.metrics import Stats
from realtime.hub.room import Room
from realtime.identity.model import Project
from realtime.messages import event_prefix
from realtime.queries import compile_filter

CHANNELS = ["rows", "files", "teams"]
ROLES = ["users", "guests"]
OPEN = compile_filter([json.dumps({"method": "equal", "attribute": "text", "values": ["x"]})])


class RecordingWire:
    """Remembers what was written, and in how many writes."""

    buffered_bytes = 0

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    @property
    def write(self) -> Callable[[bytes], None]:
        return self.send

    def send(self, frame: bytes) -> None:
        self.writes.append(frame)

    def close(self, code: int, reason: str = "") -> None: ...

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Client(Connection):
    """A connection whose writes can be read, and what it ought to have been sent."""

    __slots__ = ("expected", "recorded")

    def __init__(self, roles: frozenset[str], *, deflates: bool) -> None:
        self.recorded = RecordingWire()
        super().__init__(self.recorded, "192.0.2.1")
        self.roles = roles
        self.deflates = deflates
        self.expected: list[bytes] = []


def compressor() -> Compressor:
    return Compressor(level=1, threshold_bytes=200)


def event(number: int, channels: Sequence[str], roles: Sequence[str], text: str) -> DecodedEvent:
    payload = msgspec.Raw(json.dumps({"text": text}).encode())
    parts = EventParts(list(channels), ["rows.1.create"], payload)
    data = msgspec.Raw(msgspec.json.encode({"channels": parts.channels, "payload": payload}))
    return DecodedEvent(LiveMessage(id=f"{number}-0", roles=list(roles), data=data), parts)


class World:
    """A room whose events go through :class:`Delivery`, and the same events framed one by one."""

    def __init__(self) -> None:
        self.stats = Stats()
        self.delivery = Delivery(self.stats, compressor())
        self.one_by_one = compressor()
        self.room = Room(Project(id="demo"))
        self.clients: list[Client] = []
        self.events = 0
        self.deliveries = 0

    def join(self, roles: frozenset[str], *, deflates: bool = False) -> Client:
        client = Client(roles, deflates=deflates)
        self.room.index.add(client)
        self.clients.append(client)
        return client

    def publish(self, channels: Sequence[str], roles: Sequence[str], text: str = "x") -> None:
        self.events += 1
        decoded = event(self.events, channels, roles, text)
        match = self.room.index.find(channels, roles, decoded.payload)
        if match.miss is not None:
            self.delivery.pass_over(self.room, decoded)
            return
        frame = EventFrame(event_prefix(bytes(decoded.live.data), decoded.live.id), self.one_by_one)
        for receiver, subscriptions in match.receivers.items():
            assert isinstance(receiver, Client)
            receiver.expected.append(frame.for_matches(subscriptions, deflates=receiver.deflates))
            self.deliveries += 1
        self.delivery.gather(self.room, decoded, match)

    def check(self) -> None:
        """Everything is flushed: compare."""
        for client in self.clients:
            assert b"".join(client.recorded.writes) == b"".join(client.expected)
        assert self.stats.deliveries == self.deliveries
        assert self.room.position == f"{self.events}-0"


class DeliveryMachine(RuleBasedStateMachine):
    """Any sequence of events, subscriptions, role changes and ends of bursts."""

    channels = st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=2, unique=True)
    roles = st.frozensets(st.sampled_from(ROLES), min_size=1)
    people = st.integers(0, 5)

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        for number in range(3):
            client = self.world.join(frozenset({"users"}), deflates=bool(number % 2))
            self.world.room.index.subscribe(client, f"id-{number}", ["rows"], None)

    def change(self) -> "World":
        """Return the world for a change, which never comes in the middle of a burst."""
        self.world.delivery.flush_room(self.world.room)
        return self.world

    def client(self, number: int) -> Client:
        clients = self.world.clients
        return clients[number % len(clients)]

    @precondition(lambda self: len(self.world.clients) < 6)
    @rule(roles=roles, deflates=st.booleans())
    def join(self, roles: frozenset[str], deflates: bool) -> None:
        self.change().join(roles, deflates=deflates)

    @rule(number=people, roles=roles)
    def set_roles(self, number: int, roles: frozenset[str]) -> None:
        self.change().room.index.set_roles(self.client(number), roles)

    @rule(
        number=people,
        subscription_id=st.sampled_from(["a", "b", "another length"]),
        channels=channels,
        is_filtered=st.booleans(),
    )
    def subscribe(self, number: int, subscription_id: str, channels: list[str], is_filtered: bool) -> None:
        query = OPEN if is_filtered else None
        self.change().room.index.subscribe(self.client(number), subscription_id, channels, query)

    @rule(number=people, subscription_id=st.sampled_from(["a", "b", "another length", "id-0"]))
    def unsubscribe(self, number: int, subscription_id: str) -> None:
        self.change().room.index.unsubscribe(self.client(number), subscription_id)

    @rule(channels=channels, roles=roles, size=st.sampled_from([1, 30, 500]), times=st.integers(1, 4))
    def publish(self, channels: list[str], roles: frozenset[str], size: int, times: int) -> None:
        for _ in range(times):
            self.world.publish(channels, sorted(roles), "x" * size)

    @rule(sizes=st.lists(st.sampled_from([1, 500, 30_000]), min_size=1, max_size=4))
    def publish_to_the_same(self, sizes: list[int]) -> None:
        for size in sizes:
            self.world.publish(["rows"], ["users"], "x" * size)

    @rule()
    def flush(self) -> None:
        self.world.delivery.flush()
        self.check()

    @rule()
    def forget(self) -> None:
        self.world.delivery.forget_unused()

    @invariant()
    def nothing_is_sent_out_of_order(self) -> None:
        for client in self.world.clients:
            assert b"".join(client.expected).startswith(b"".join(client.recorded.writes))

    def check(self) -> None:
        if self.world.events:
            self.world.check()

    def teardown(self) -> None:
        self.world.delivery.flush()
        self.check()


TestDeliveryMachine = DeliveryMachine.TestCase
TestDeliveryMachine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.fixture
def world() -> World:
    return World()


def subscribed(world: World, number: int, *, deflates: bool = False, role: str = "users") -> Client:
    client = world.join(frozenset({role}), deflates=deflates)
    world.room.index.subscribe(client, f"id-{number}", ["rows"], None)
    return client


class TestBurst:
    def test_events_for_the_same_receivers_are_one_write_each(self, world: World) -> None:
        clients = [subscribed(world, number, deflates=number == 2) for number in range(3)]
        for _ in range(5):
            world.publish(["rows"], ["users"], "x" * 300)
        assert all(not client.recorded.writes for client in clients)
        world.delivery.flush()
        assert [len(client.recorded.writes) for client in clients] == [1, 1, 1]
        world.check()

    def test_events_for_different_receivers_are_one_write_each_too(self, world: World) -> None:
        user, guest = subscribed(world, 1), subscribed(world, 2, role="guests")
        world.publish(["rows"], ["users"])
        world.publish(["rows"], ["any"])
        world.publish(["rows"], ["guests"])
        world.publish(["rows"], ["users"])
        world.delivery.flush()
        assert [len(client.recorded.writes) for client in (user, guest)] == [1, 1]
        world.check()

    def test_compressed_and_plain_events_are_one_write(self, world: World) -> None:
        client = subscribed(world, 1, deflates=True)
        for text in ("x" * 300, "x", "x" * 300):
            world.publish(["rows"], ["users"], text)
        world.delivery.flush()
        assert len(client.recorded.writes) == 1
        world.check()

    def test_burst_that_grows_too_large_is_sent_in_parts(self, world: World) -> None:
        client = subscribed(world, 1)
        for _ in range(5):
            world.publish(["rows"], ["users"], "x" * 30_000)
        assert len(client.recorded.writes) == 1
        world.delivery.flush()
        assert len(client.recorded.writes) == 2
        world.check()

    def test_nothing_is_compressed_when_nobody_takes_that(self, monkeypatch: Any) -> None:
        world = World()
        monkeypatch.setattr(Compressor, "compress", lambda *_: pytest.fail("compressed"))
        subscribed(world, 1)
        for _ in range(3):
            world.publish(["rows"], ["users"], "x" * 500)
        world.delivery.flush()
        world.check()


class TestPosition:
    def test_room_gets_to_an_event_when_it_has_been_sent(self, world: World) -> None:
        subscribed(world, 1)
        world.publish(["rows"], ["users"])
        world.publish(["files"], ["users"])
        assert world.room.position == "0-0"
        world.delivery.flush()
        assert world.room.position == "2-0"

    def test_event_for_nobody_is_dealt_with_at_once(self, world: World) -> None:
        world.publish(["files"], ["users"])
        assert world.room.position == "1-0"

    def test_receivers_have_something_to_confirm(self, world: World) -> None:
        user, guest = subscribed(world, 1), subscribed(world, 2, role="guests")
        confirmations = world.room.confirmations = Confirmations[Connection]("0-0")
        world.publish(["rows"], ["users"])
        world.delivery.flush()
        assert not confirmations.is_settled(user)
        assert confirmations.is_settled(guest)
        world.publish(["rows"], ["users"])
        world.publish(["rows"], ["guests"])
        world.delivery.flush()
        assert not confirmations.is_settled(guest)


class TestForgetUnused:
    def test_plan_that_is_used_is_kept_and_another_one_freed(self, world: World) -> None:
        subscribed(world, 1)
        world.publish(["rows"], ["users"])
        world.delivery.flush()
        world.delivery.forget_unused()
        assert world.delivery._plans
        world.delivery.forget_unused()
        assert not world.delivery._plans
        assert world.room.index._last is None

    def test_room_that_ended_is_not_kept(self, world: World) -> None:
        client = subscribed(world, 1)
        world.publish(["rows"], ["users"])
        world.delivery.flush()
        world.room.index.remove(client)
        for _ in range(2):
            world.delivery.forget_unused()
        assert not world.delivery._plans
