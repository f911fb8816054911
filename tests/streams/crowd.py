"""Many clients of an unmodified SDK, in one Node process that reports what they see."""

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from tests.streams.checker import ALWAYS, Span, Stream
from tests.streams.journal import Journal
from tests.streams.people import Person
from tests.streams.readers import PROJECT, Wanted, make_streams

SDK_FOLDER = Path(__file__).parents[1] / "e2e" / "sdk"
PACKAGE = "appwrite-27"


class Member(NamedTuple):
    """One client of a crowd."""

    person: Person
    name: str
    wanted: Wanted


class Crowd:
    """SDK clients that come and go together; every other one subscribes through the ``Realtime`` service."""

    def __init__(self, journal: Journal, port: int, members: list[Member]) -> None:
        self._journal = journal
        self._port = port
        self._members = members
        self._streams = [
            list(make_streams(journal, member.person, member.name, member.wanted, repeats=True).values())
            for member in members
        ]
        self.streams = [stream for streams in self._streams for stream in streams]
        # Before any of them has subscribed; one span for all is enough.
        self._asked = 0
        # The socket on which each of them is subscribed; 0 for none.
        self._sockets = [0] * len(members)

    async def run(self) -> None:
        """Run the process, and take its reports until cancelled."""
        process = await asyncio.create_subprocess_exec(
            *("node", "crowd.cjs", PACKAGE),
            cwd=SDK_FOLDER,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            self._asked = self._journal.tick()
            process.stdin.write(
                json.dumps([self._describe(*pair) for pair in enumerate(self._members)]).encode()
            )
            process.stdin.write_eof()
            async for line in process.stdout:
                self._take(*json.loads(line))
            raise AssertionError("the SDKs' process ended")
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    def is_connected(self) -> bool:
        return all(self._sockets)

    def connections(self) -> Iterable[tuple[Stream, int]]:
        return (
            (stream, socket)
            for streams, socket in zip(self._streams, self._sockets, strict=True)
            for stream in streams
        )

    def _describe(self, index: int, member: Member) -> dict[str, Any]:
        return {
            "endpoint": f"http://127.0.0.1:{self._port}/v1",
            "project": PROJECT,
            "style": "service" if index % 2 else "client",
            "jwt": member.person.jwt,
            "session": member.person.session,
            "subscriptions": [list(channels) for channels in member.wanted.values()],
        }

    def _take(self, report: str, client: int, *arguments: Any) -> None:
        if report == "event":
            subscription, socket, number, event_id = arguments
            self._journal.saw(self._streams[client][subscription], number, event_id or "", socket)
        elif report == "subscribed":
            self._subscribe(client, *arguments)
        elif report == "closed":
            self._sockets[client] = 0
        else:
            self._note(client, *arguments)

    def _subscribe(self, client: int, socket: int) -> None:
        self._sockets[client] = socket
        for stream in self._streams[client]:
            if stream.opened is ALWAYS:
                stream.opened = Span(self._asked, self._journal.tick())

    def _note(self, client: int, frame: dict[str, Any]) -> None:
        if frame["type"] == "error":
            self._journal.complaints.append(f"{self._members[client].name}: {frame['data']}")
        elif frame["data"]["code"] == "gap":
            # An SDK passes nothing on to its user, but a test may look at the wire.
            self._journal.told_of_gap(self._streams[client])
