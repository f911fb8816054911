"""Many connections, held by ``wsload``: a client written in C, so that the client is not what is measured."""

import asyncio
import contextlib
import json
import mmap
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any, NamedTuple, Self

from benchmarks.candidates import Speech
from benchmarks.common import token
from benchmarks.servers import Process, Server

STUCK_S = 20.0
"""How long nothing may arrive while something is waited for."""

_COUNTERS = struct.Struct("6Q")


class Counts(NamedTuple):
    """What all connections together have seen, in the order of ``counters_t`` in ``wsload.c``."""

    frames: int
    bytes: int
    deflated: int
    opened: int
    lost: int
    returned: int


class Stuck(Exception):  # noqa: N818 - it says of a server what it is
    """A server did not do what it was to do in time, or lost connections."""


@contextlib.contextmanager
def wsload() -> Iterator[Path]:
    """Compile ``wsload`` and return where it is, for :class:`Load`. Without a compiler the program ends."""
    compiler = which("cc") or which("gcc") or which("clang")
    if compiler is None:
        sys.exit(
            "This benchmark needs a C compiler for its client (on Debian: apt-get install gcc libc6-dev)."
        )
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "wsload"
        source = Path(__file__).with_name("wsload.c")
        subprocess.run([compiler, "-O2", "-o", str(program), str(source)], check=True)
        yield program


class Load:
    """Connections to one server, from when this is made until its ``with`` block ends.

    Args:
        program: ``wsload``.
        server: Where to connect. At the hub, each connection is of another user: ``user0``, ``user1`` and so on.
        connections: How many.
        speech: What clients say, if it is not what the server's do.
        deflates: Whether they offer permessage-deflate.
        stalls: Whether they stop to read once they are open.
        times: Whether they take the time of messages.
        returns_to: The port to which connections return a second after they were lost, all at once; None for not.
    """

    def __init__(
        self,
        program: Path,
        server: Server,
        connections: int,
        *,
        speech: Speech | None = None,
        deflates: bool = False,
        stalls: bool = False,
        times: bool = False,
        returns_to: int | None = None,
    ) -> None:
        self.connections = connections
        speech = speech or server.speech
        self._files = tempfile.TemporaryDirectory()
        counters = Path(self._files.name) / "counters"
        counters.write_bytes(bytes(_COUNTERS.size))
        with counters.open("r+b") as file:
            self._counters = mmap.mmap(file.fileno(), 0)
        command = [str(program), str(server.port), speech.path, str(connections), "-c", str(counters)]
        command += ["-g", str(speech.greeting_frames)]
        if speech.message:
            command += ["-m", speech.message]
        if speech.answers:
            command += ["-a", speech.answers]
        if "{line}" in speech.path:
            tokens = Path(self._files.name) / "tokens"
            tokens.write_text("\n".join(token(f"user{number}") for number in range(connections)))
            command += ["-f", str(tokens)]
        flags = {"-z": deflates, "-s": stalls, "-t": times}
        command += [flag for flag, is_set in flags.items() if is_set]
        if returns_to is not None:
            command += ["-r", "1000", "-p", str(returns_to), "-n", str(connections)]
        self._popen = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.process = Process(self._popen.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._popen.kill()
        self._popen.communicate()
        self._counters.close()
        self._files.cleanup()

    def opened(self) -> float:
        """Wait until all connections are open; return how long that took, in seconds.

        Raises:
            Stuck: Some were refused, or are not open in time.
        """
        deadline_s, before = time.monotonic() + STUCK_S, -1
        while (now := self.counts().opened) < self.connections:
            if now > before:
                deadline_s, before = time.monotonic() + STUCK_S, now
            elif time.monotonic() > deadline_s:
                raise Stuck(f"only {now:,} of {self.connections:,} connections could be opened")
            time.sleep(0.01)
        return float(self._read()["open_s"])

    def counts(self) -> Counts:
        """Return what was seen up to now. It costs the client nothing."""
        return Counts(*_COUNTERS.unpack(self._counters[:]))

    async def received(self, frames: int) -> None:
        """Wait until so many messages have arrived on all connections together, since the first one.

        Raises:
            Stuck: Connections were lost, or nothing arrived for a long time.
        """
        loop = asyncio.get_running_loop()
        deadline_s, before = loop.time() + STUCK_S, -1
        while (now := self.counts()).frames < frames:
            if now.lost:
                raise Stuck(f"{now.lost:,} of {self.connections:,} connections were lost")
            if now.frames > before:
                deadline_s, before = loop.time() + STUCK_S, now.frames
            elif loop.time() > deadline_s:
                raise Stuck(f"only {now.frames:,} of {frames:,} messages arrived")
            await asyncio.sleep(0.0002)

    def toggle_busy(self) -> None:
        """Begin to look for input without ever sleeping, so that the server has nobody to wake; or stop that."""
        self._popen.send_signal(signal.SIGUSR1)

    def stop(self) -> dict[str, Any]:
        """Close the connections; return the report of ``wsload``."""
        self._popen.terminate()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        if not line:
            raise Stuck("the client ended without a report")
        report: dict[str, Any] = json.loads(line)
        return report
