"""Clients in this process that report what they see: the Python client, and a plain WebSocket that resumes by ID."""

import asyncio
import contextlib
import json
import random
import uuid
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.frames import Frame, Opcode

from realtime.client import Gap, RealtimeClient, Subscription
from realtime.client.schedule import Backoff
from tests.streams.checker import ALWAYS, Epoch, Span, Stream
from tests.streams.journal import Journal
from tests.streams.people import Person

PROJECT = "demo"

Wanted = Mapping[str, tuple[str, ...]]
"""The subscriptions of a client: the channels of each, under a label of its own."""


class Reader(Protocol):
    """Clients of one kind, which write what they see into a journal."""

    streams: list[Stream]

    async def run(self) -> None:
        """Connect, and report until cancelled."""

    def is_connected(self) -> bool:
        """Tell whether all their subscriptions are confirmed on an open connection."""

    def connections(self) -> Iterable[tuple[Stream, int]]:
        """Return, for streams that may repeat what is not confirmed, the number of the connection they are on now."""


def make_streams(
    journal: Journal, person: Person, name: str, wanted: Wanted, *, repeats: bool
) -> dict[str, Stream]:
    """Return the streams of one client by their labels, entered in the journal."""
    streams = {
        label: Stream(
            f"{name}/{label}",
            frozenset(channels),
            [Epoch(person.roles, ALWAYS)],
            repeats_unconfirmed=repeats,
        )
        for label, channels in wanted.items()
    }
    journal.streams += streams.values()
    return streams


class PythonReader:
    """The Python client, which asks for what it missed by itself: it never sees an event twice."""

    def __init__(self, journal: Journal, port: int, person: Person, name: str, wanted: Wanted) -> None:
        self._journal = journal
        self._wanted = wanted
        self._by_label = make_streams(journal, person, name, wanted, repeats=False)
        self.streams = list(self._by_label.values())
        self._open: set[str] = set()
        self._client = RealtimeClient(
            f"http://127.0.0.1:{port}/v1",
            PROJECT,
            jwt=person.jwt or None,
            session=person.session or None,
            backoff=Backoff(base_s=0.5, max_s=1),
        )

    async def run(self) -> None:
        """Read until cancelled."""
        async with self._client, asyncio.TaskGroup() as group:
            for label, channels in self._wanted.items():
                stream = self._by_label[label]
                subscription = self._client.subscribe(channels, on_gap=partial(self._note, stream))
                group.create_task(self._read(stream, subscription))

    def is_connected(self) -> bool:
        return self._client.is_connected and len(self._open) == len(self.streams)

    def connections(self) -> Iterable[tuple[Stream, int]]:
        return ()

    async def _read(self, stream: Stream, subscription: Subscription) -> None:
        began = self._journal.tick()
        async with subscription as events:
            stream.opened = Span(began, self._journal.tick())
            self._open.add(stream.name)
            async for event in events:
                self._journal.saw(stream, event.payload["n"], event.id, 0)
        raise AssertionError(f"{stream.name} ended")

    def _note(self, stream: Stream, _gap: Gap) -> None:
        self._journal.told_of_gap([stream])


class RawReader:
    """A WebSocket that subscribes under IDs of its own and knows nothing of resuming, as the SDKs."""

    def __init__(self, journal: Journal, port: int, person: Person, name: str, wanted: Wanted) -> None:
        self._journal = journal
        self._url = f"ws://127.0.0.1:{port}/v1/realtime?project={PROJECT}"
        self._headers = person.headers
        by_label = make_streams(journal, person, name, wanted, repeats=True)
        self.streams = list(by_label.values())
        ids = {label: f"{label}-{uuid.uuid4().hex[:20]}" for label in wanted}
        self._by_id = {ids[label]: stream for label, stream in by_label.items()}
        self._items = [
            {"subscriptionId": ids[label], "channels": list(channels)} for label, channels in wanted.items()
        ]
        self._connection = 0
        self._asked = 0
        self._greeted = asyncio.Event()
        self._is_subscribed = False

    async def run(self) -> None:
        """Connect again and again until cancelled, as quickly as an SDK never would."""
        while True:
            # Whatever ends a connection, the next one goes on; what that costs shows in the streams.
            with contextlib.suppress(OSError, TimeoutError, WebSocketException):
                await self._live_once()
            await asyncio.sleep(random.uniform(0.1, 0.4))

    def is_connected(self) -> bool:
        return self._is_subscribed

    def connections(self) -> Iterable[tuple[Stream, int]]:
        return ((stream, self._connection) for stream in self.streams)

    async def _live_once(self) -> None:
        self._connection += 1
        self._greeted.clear()
        try:
            async with connect(
                self._url,
                additional_headers=self._headers,
                create_connection=_reporting_socket(self),
                ping_interval=None,
                open_timeout=5,
                close_timeout=1,
            ) as socket:
                async with asyncio.timeout(5):
                    await self._greeted.wait()
                self._asked = self._asked or self._journal.tick()
                await socket.send(json.dumps({"type": "subscribe", "data": self._items}))
                await socket.wait_closed()
        finally:
            self._is_subscribed = False

    def take(self, frame: dict[str, Any]) -> None:
        """Take a message from the hub. Called by the socket."""
        data = frame["data"]
        if frame["type"] == "event":
            for each in data["subscriptions"]:
                stream = self._by_id.get(each)
                if stream is None:
                    self._journal.complaints.append(f"{self.streams[0].name}: not subscribed: {data}")
                else:
                    self._journal.saw(stream, data["payload"]["n"], data["id"], self._connection)
        elif frame["type"] == "connected":
            self._greeted.set()
        elif frame["type"] == "response":
            for stream in self.streams:
                if stream.opened is ALWAYS:
                    stream.opened = Span(self._asked, self._journal.tick())
            self._is_subscribed = True
        elif frame["type"] == "system":
            if data["code"] == "gap":
                self._journal.told_of_gap(self.streams)
        else:
            self._journal.complaints.append(f"{self.streams[0].name}: {data}")


def _reporting_socket(reader: RawReader) -> type[ClientConnection]:
    """Return a kind of connection that hands messages to ``reader`` as they come in."""

    class Socket(ClientConnection):
        def process_event(self, event: Any) -> None:
            if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                reader.take(json.loads(bytes(event.data)))
                return
            super().process_event(event)

    return Socket
