"""The order of events, changes of identity and ends of bursts; and an account of every event."""

import asyncio
import itertools
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.hub import backlog, delivery, fanout, identities
from realtime.hub.connection import Connection
from realtime.hub.fanout import Fanout
from realtime.hub.identities import Identities
from realtime.hub.index import SubscriptionIndex
from realtime.hub.ledger import Outcome
from realtime.hub.metrics import Stats
from realtime.hub.registry import Registry
from realtime.hub.resumption import Resumption
from realtime.hub.room import Room
from realtime.identity.model import GUEST, Identity, Project
from realtime.queries import compile_filter

DEMO = Project(id="demo")
BEARER = Identity(roles=frozenset({"users", "user:ada", "team:red"}), user_id="ada")
SEND_BUFFER_BYTES = 2**20
STORED = Identity(roles=frozenset({"users", "user:bob"}), user_id="bob", stored=True)


class NoWatcher:
    """Hears everything from the beginning."""

    async def watch(self, project: str) -> str:
        return "0-0"

    async def unwatch(self, project: str) -> None: ...


class RecordingWire:
    """Remembers what was written: the numbers of the events, and the codes of notices, write by write."""

    def __init__(self) -> None:
        self.buffered_bytes = 0
        self.writes: list[list[int | str]] = []
        self.close_codes: list[int] = []

    @property
    def write(self) -> Callable[[bytes], None]:
        return self.send

    def send(self, frame: bytes) -> None:
        self.writes.append(list(_told(frame)))

    def close(self, code: int, reason: str = "") -> None:
        self.close_codes.append(code)

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    @property
    def told(self) -> list[int | str]:
        return [each for write in self.writes for each in write]


def _told(frames: bytes) -> Sequence[int | str]:
    told: list[int | str] = []
    while frames:
        size, start = frames[1], 2
        if size == 126:
            size, start = int.from_bytes(frames[2:4]), 4
        elif size == 127:
            size, start = int.from_bytes(frames[2:10]), 10
        message = json.loads(frames[start : start + size])
        data = message["data"]
        told.append(data["payload"]["n"] if message["type"] == "event" else data["code"])
        frames = frames[start + size :]
    return told


def message(
    number: int, *roles: str, channel: str = "rows", name: str = "rows.1.create", **more: Any
) -> bytes:
    data = {"events": [name], "channels": [channel], "payload": {"n": number}}
    return msgspec.json.encode({"id": f"{number}-0", "roles": roles or ("any",), "data": data, **more})


class Bench:
    """A fan-out with a real registry, and everything that waits in the test's hands."""

    def __init__(self) -> None:
        self.stats = Stats()
        self.tasks: list[asyncio.Task[None]] = []
        self.refreshed: Identity = STORED
        self.refreshes = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.answers_once = False
        self.registry = Registry(
            NoWatcher(),
            self.load,
            self.stats,
            Resumption(None, loop_time=lambda: 0.0),
            turn_s=25,
            loop_time=lambda: 0.0,
            clock=lambda: 0.0,
        )
        sending = delivery.Delivery(self.stats, compressor=None)
        self.fanout = Fanout(
            self.registry,
            sending,
            Identities(
                self.registry,
                sending,
                self.stats,
                refresh=self.refresh,
                reload_project=self.load,
                loop_time=lambda: 0.0,
            ),
            self.stats,
            spawn=self.spawn,
            loop_time=lambda: 0.0,
            send_buffer_bytes=SEND_BUFFER_BYTES,
        )

    async def load(self, project_id: str, /) -> Project | None:
        return DEMO

    async def refresh(self, project: Project, identity: Identity) -> Identity:
        self.refreshes += 1
        await self.may_answer.wait()
        if self.answers_once:
            self.may_answer.clear()
        return self.refreshed

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    async def join(
        self, identity: Identity = GUEST, *channels: str, queries: Sequence[str] = ()
    ) -> Connection:
        room = await self.room()
        connection = Connection(RecordingWire(), "192.0.2.1")
        self.registry.admit(connection, room, identity)
        if channels:
            room.index.subscribe(connection, "s", channels, compile_filter(queries))
        self.registry.unpin(room)
        return connection

    async def room(self) -> Room:
        room = await self.registry.enter("demo")
        assert room is not None
        return room

    def receive(self, *messages: bytes) -> None:
        for each in messages:
            self.fanout.receive("demo", each)
        self.fanout.flush()

    async def finish(self) -> None:
        await asyncio.gather(*self.tasks)

    @property
    def outcomes(self) -> dict[tuple[str, str], int]:
        return {(each.outcome, each.reason): count for (_, each), count in self.stats.ledger.settled.items()}


@pytest.fixture
async def bench() -> Bench:
    return Bench()


def wire_of(connection: Connection) -> RecordingWire:
    assert isinstance(connection.wire, RecordingWire)
    return connection.wire


class TestOrder:
    async def test_what_comes_in_together_is_one_write(self, bench: Bench) -> None:
        clients = [await bench.join(GUEST, "rows") for _ in range(2)]
        bench.receive(message(1), message(2), message(3))
        assert [wire_of(each).writes for each in clients] == [[[1, 2, 3]]] * 2

    async def test_nothing_waits_for_the_end_of_a_burst_when_a_token_loses_roles(self, bench: Bench) -> None:
        """Events before the loss are sent before the notice of it, and under the roles from before it."""
        ada = await bench.join(BEARER, "rows", "account")
        bench.receive(
            message(1, "team:red"),
            message(2, "any", name="users.ada.delete", channel="account", userId="ada"),
            message(3, "team:red"),
            message(4, "any"),
        )
        assert wire_of(ada).writes == [[1], ["signed_out"], [2, 4]]

    async def test_events_wait_for_an_identity_that_is_read_again(self, bench: Bench) -> None:
        bob, other = await bench.join(STORED, "rows"), await bench.join(GUEST, "rows")
        bench.may_answer.clear()
        bench.refreshed = GUEST
        bench.receive(message(1, "user:bob"), b'{"identity":{"user":"bob"}}', message(2), message(3, "users"))
        # What came before does not wait.
        assert wire_of(bob).told == [1]
        bench.receive(message(4))
        room = await bench.room()
        assert room.position == "1-0"
        bench.may_answer.set()
        await bench.finish()
        assert wire_of(bob).writes == [[1], ["signed_out"], [2, 4]]
        assert wire_of(other).told == [2, 4]
        assert room.position == "4-0"
        bench.receive(message(5))
        assert wire_of(other).told == [2, 4, 5]

    async def test_events_between_two_changes_do_not_wait_for_the_second(self, bench: Bench) -> None:
        bob = await bench.join(STORED, "rows")
        bench.may_answer.clear()
        bench.answers_once = True
        change = b'{"identity":{"user":"bob"}}'
        bench.receive(change, message(1), message(2), change, message(3))
        bench.may_answer.set()
        async with asyncio.timeout(5):
            while not wire_of(bob).writes:  # noqa: ASYNC110 - a wire tells nobody
                await asyncio.sleep(0)
        assert wire_of(bob).writes == [[1, 2]]
        assert not bench.tasks[0].done()
        bench.may_answer.set()
        await bench.finish()
        assert wire_of(bob).writes == [[1, 2], [3]]

    async def test_notice_is_not_ahead_of_what_is_gathered_while_events_wait(self, bench: Bench) -> None:
        bob = await bench.join(STORED, "rows")
        bench.may_answer.clear()
        bench.fanout.receive("demo", message(1))
        bench.fanout.receive("demo", b'{"identity":{"user":"bob"}}')
        bench.fanout.resumed("demo", complete=False)
        assert wire_of(bob).told == [1, "gap"]
        bench.may_answer.set()
        await bench.finish()

    async def test_events_of_an_outage_wait_until_identities_are_read_again(self, bench: Bench) -> None:
        """What changed them while Redis was away was announced to nobody."""
        bob = await bench.join(STORED, "rows")
        bench.refreshed = GUEST
        bench.fanout.resuming("demo")
        bench.receive(message(1, "users"), message(2))
        bench.fanout.resumed("demo", complete=True)
        bench.receive(message(3, "users"), message(4))
        await bench.finish()
        assert wire_of(bob).told == ["signed_out", 2, 4]

    async def test_project_without_connections_resumes(self, bench: Bench) -> None:
        bench.fanout.resuming("demo")
        bench.fanout.resumed("demo", complete=True)
        assert bench.tasks == []

    async def test_event_about_the_change_itself_is_delivered_after_it(self, bench: Bench) -> None:
        bob = await bench.join(STORED, "account")
        bench.refreshed = GUEST
        bench.receive(message(1, "user:bob", name="users.bob.delete", channel="account", userId="bob"))
        await bench.finish()
        assert wire_of(bob).told == ["signed_out", 1]

    async def test_notice_of_a_gap_comes_after_what_is_gathered(self, bench: Bench) -> None:
        guest = await bench.join(GUEST, "rows")
        bench.fanout.receive("demo", message(1))
        bench.fanout.resumed("demo", complete=False)
        await bench.finish()
        assert wire_of(guest).told == [1, "gap"]

    async def test_too_much_at_once_goes_on_when_the_transports_have_written(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fanout, "MAX_HANDED_BYTES", 100)
        guest = await bench.join(GUEST, "rows")
        bench.receive(*[message(number) for number in range(1, 5)])
        assert wire_of(guest).told == [1]
        await bench.finish()
        assert wire_of(guest).told == [1, 2, 3, 4]
        bench.receive(message(5))
        assert wire_of(guest).told == [1, 2, 3, 4, 5]

    async def test_limit_is_beyond_what_a_burst_takes(self) -> None:
        assert delivery.MAX_HANDED_BYTES >= 64 * 2**20


class TestPace:
    """Nobody who reads is handed so much at once that they are taken for somebody who does not."""

    async def test_no_connection_is_handed_more_than_its_share_at_a_time(self, bench: Bench) -> None:
        guest = await bench.join(GUEST, "rows")
        bench.receive(*[message(number, x="x" * 100_000) for number in range(10)])
        told = [0, len(wire_of(guest).told)]
        while not bench.tasks[0].done():
            await asyncio.sleep(0)
            told.append(len(wire_of(guest).told))
        assert max(after - before for before, after in itertools.pairwise(told)) == 2
        assert wire_of(guest).told == list(range(10))

    async def test_event_that_is_larger_than_a_share_goes_alone(self, bench: Bench) -> None:
        guest = await bench.join(GUEST, "rows")
        bench.receive(message(1), message(2, x="x" * SEND_BUFFER_BYTES), message(3))
        await bench.finish()
        assert wire_of(guest).told == [1, 2, 3]

    async def test_who_has_much_to_take_is_waited_for(self, bench: Bench) -> None:
        guest = await bench.join(GUEST, "rows")
        bench.receive(*[message(number, x="x" * 200_000) for number in range(3)])
        wire_of(guest).buffered_bytes = SEND_BUFFER_BYTES * 3 // 4
        waiting = asyncio.create_task(bench.fanout.wait_taken("demo"))
        for _ in range(10):
            await asyncio.sleep(0)
        assert wire_of(guest).told == [0, 1]
        wire_of(guest).buffered_bytes = 0
        await bench.finish()
        assert wire_of(guest).told == [0, 1, 2]
        await waiting

    async def test_who_takes_nothing_is_not_waited_for_long(self, bench: Bench) -> None:
        guest = await bench.join(GUEST, "rows")
        wire_of(guest).buffered_bytes = SEND_BUFFER_BYTES
        bench.receive(*[message(number, x="x" * 200_000) for number in range(3)])
        async with asyncio.timeout(5):
            await bench.fanout.wait_taken("demo")
        assert wire_of(guest).told == [0, 1, 2]

    async def test_what_waits_for_an_identity_is_waited_for(self, bench: Bench) -> None:
        await bench.join(STORED, "rows")
        bench.may_answer.clear()
        bench.receive(b'{"identity":{"user":"bob"}}')
        waiting = asyncio.create_task(bench.fanout.wait_taken("demo"))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not waiting.done()
        bench.may_answer.set()
        await waiting

    async def test_project_without_connections_is_not_waited_for(self, bench: Bench) -> None:
        await bench.fanout.wait_taken("nowhere")


class TestRefresh:
    async def test_identities_are_read_together_and_each_once(self, bench: Bench) -> None:
        people = [
            Identity(roles=STORED.roles, user_id=f"user{number // 2}", stored=True) for number in range(80)
        ]
        for each in people:
            await bench.join(each)
        bench.may_answer.clear()
        bench.fanout.resuming("demo")
        for _ in range(10):
            await asyncio.sleep(0)
        assert bench.refreshes == 32
        bench.may_answer.set()
        await bench.finish()
        assert bench.refreshes == 40

    async def test_who_cannot_be_read_in_time_is_closed_and_those_behind_go_on(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(identities, "_REFRESH_S", 0.01)
        people = [
            await bench.join(Identity(roles=STORED.roles, user_id=f"user{number}", stored=True), "rows")
            for number in range(100)
        ]
        guest = await bench.join(GUEST, "rows")
        bench.may_answer.clear()
        bench.fanout.resuming("demo")
        bench.receive(message(1))
        async with asyncio.timeout(5):
            await bench.finish()
        assert {code for each in people for code in wire_of(each).close_codes} == {1013}
        assert bench.stats.counted["realtime_connections_closed", "identity_unreadable"] == 100
        assert wire_of(guest).told == [1]


class TestOverrun:
    async def overrun(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
        monkeypatch.setattr(backlog, "MAX_BACKLOG_BYTES", 1000)
        connections = [await bench.join(STORED, "rows"), await bench.join(GUEST, "rows")]
        bench.may_answer.clear()
        bench.receive(message(1, identity={"user": "bob"}), *[message(number) for number in range(2, 10)])
        return connections

    async def test_clients_are_closed_to_return_and_nothing_is_kept(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connections = await self.overrun(bench, monkeypatch)
        room = await bench.room()
        assert [wire_of(each).close_codes for each in connections] == [[1013], [1013]]
        assert bench.stats.counted["realtime_connections_closed", "backlog"] == 2
        assert room.backlog is not None
        assert room.backlog.size_bytes < 1000
        bench.may_answer.set()
        await bench.finish()
        assert bench.stats.ledger.received == {"demo": 9}
        assert bench.outcomes[("dropped", "backlog")] + bench.outcomes["filtered", "no_subscriber"] == 9

    async def test_who_returns_meanwhile_is_sent_nothing_of_before(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They read it from the log, up to where the room is."""
        await self.overrun(bench, monkeypatch)
        room = await bench.room()
        dropped_to = int(room.position.partition("-")[0])
        again = await bench.join(GUEST, "rows")
        assert dropped_to > 1
        bench.may_answer.set()
        await bench.finish()
        assert wire_of(again).told == list(range(dropped_to + 1, 10))
        assert room.position == "9-0"

    async def test_who_was_just_coming_in_is_read_again(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        room = await bench.room()
        changes = room.changes
        await self.overrun(bench, monkeypatch)
        assert room.changes > changes
        bench.may_answer.set()
        await bench.finish()


class TestAccount:
    async def test_each_event_has_the_outcome_that_it_had(self, bench: Bench) -> None:
        await bench.join(STORED, "rows")
        await bench.join(GUEST, "files", queries=['{"method":"equal","attribute":"n","values":[0]}'])
        bench.receive(
            message(1),
            message(2, channel="teams"),
            message(3, "user:nobody"),
            message(4, channel="files"),
            b"nonsense",
            b'{"id":"5-0","roles":["any"],"data":{"channels":["rows"],"x":"\xff"}}',
        )
        assert bench.outcomes == {
            ("delivered", ""): 1,
            ("filtered", "no_subscriber"): 1,
            ("filtered", "no_permission"): 1,
            ("filtered", "query"): 1,
            ("dropped", "undecodable"): 1,
            ("dropped", "not_text"): 1,
        }
        assert bench.stats.ledger.received == {"demo": 6}

    async def test_change_of_identities_is_no_event(self, bench: Bench) -> None:
        await bench.join(GUEST, "rows")
        bench.receive(b'{"identity":{"user":"bob"}}')
        await bench.finish()
        assert not bench.stats.ledger.received
        assert not bench.outcomes

    async def test_project_without_connections_has_no_account(self, bench: Bench) -> None:
        bench.receive(message(1))
        assert not bench.stats.ledger.received

    @pytest.mark.parametrize("is_refreshed", [False, True])
    async def test_event_that_fails_is_dropped_and_those_behind_it_are_not(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch, *, is_refreshed: bool
    ) -> None:
        bob = await bench.join(STORED, "rows")
        find = SubscriptionIndex.find

        def fail_once(*arguments: Any) -> Any:
            monkeypatch.setattr(SubscriptionIndex, "find", find)
            raise RuntimeError("unforeseen")

        monkeypatch.setattr(SubscriptionIndex, "find", fail_once)
        more: dict[str, Any] = {"identity": {"user": "bob"}} if is_refreshed else {}
        bench.receive(message(1, **more), message(2))
        await bench.finish()
        assert wire_of(bob).told == [2]
        assert bench.outcomes == {("dropped", "failed"): 1, ("delivered", ""): 1}
        assert (await bench.room()).position == "2-0"

    async def test_change_that_cannot_be_followed_drops_its_event(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody knows who may read it."""
        bob = await bench.join(STORED, "rows")
        monkeypatch.setattr(Room, "settle_announced", lambda *_: 1 / 0)
        bench.receive(message(1, identity={"user": "bob"}))
        await bench.finish()
        assert wire_of(bob).told == []
        assert bench.outcomes == {("dropped", "failed"): 1}

    async def test_events_that_the_log_lost_are_a_gap(self, bench: Bench) -> None:
        await bench.join(GUEST, "rows")
        bench.fanout.resumed("demo", complete=False, missed=7)
        bench.fanout.resumed("demo", complete=False)
        await bench.finish()
        assert bench.outcomes == {("dropped", "gap"): 7}

    async def test_event_that_is_not_believed_is_dropped(self, bench: Bench) -> None:
        await bench.join(GUEST, "rows")
        bench.fanout.ignored("demo")
        bench.fanout.ignored("nowhere")
        assert bench.outcomes == {("dropped", "too_far_ahead"): 1}
        assert bench.stats.ledger.received == {"demo": 1}

    async def test_foreign_envelope_that_nobody_understands_is_of_no_project(self, bench: Bench) -> None:
        bench.fanout.receive_foreign(b"nonsense")
        bench.fanout.receive_foreign(b'{"data":%s%s}' % (b"[" * 5000, b"]" * 5000))
        assert bench.stats.ledger.settled == {("", Outcome("dropped", "undecodable")): 2}
        assert bench.stats.ledger.received == {"": 2}

    @given(
        st.lists(
            st.sampled_from(
                [
                    *[
                        message(1, "users"),
                        message(2, "guests"),
                        message(3, "team:red"),
                        message(4, channel="x"),
                    ],
                    *[
                        b"nonsense",
                        b'{"data":{"channels":["rows"],"x":"\xff"}}',
                        b'{"identity":{"user":"bob"}}',
                    ],
                    *[
                        message(5, identity={"user": "bob"}),
                        message(6, name="users.bob.update", userId="bob"),
                    ],
                ]
            )
        ),
        st.lists(st.integers(0, 20)),
    )
    def test_every_event_received_has_exactly_one_outcome(
        self, messages: list[bytes], ends: list[int]
    ) -> None:
        async def account() -> None:
            bench = Bench()
            await bench.join(STORED, "rows")
            await bench.join(GUEST, "rows")
            for number, each in enumerate(messages):
                bench.fanout.receive("demo", each)
                if number in ends:
                    bench.fanout.flush()
                    await asyncio.sleep(0)
            bench.fanout.flush()
            await bench.finish()
            events = sum(1 for each in messages if each != b'{"identity":{"user":"bob"}}')
            assert bench.stats.ledger.received.total() == events
            assert bench.stats.ledger.settled.total() == events

        asyncio.run(account())
