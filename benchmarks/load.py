"""Many connections, held by ``wsload``: a client written in C, so that the client is not what is measured."""

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from shutil import which
from typing import Any, Self

from benchmarks.common import PROJECT
from benchmarks.servers import Server


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
        server: Where to connect.
        connections: How many.
        query: What follows the project in the URL.
        tokens: A token for each connection; without them they are guests.
        greeting_frames: How many messages have to arrive on each until it counts as open.
        expected_frames: How many are to arrive on each after those, for :meth:`finished`.
        is_busy: Whether to look for input without ever sleeping, so that the server need not wake anybody.
    """

    def __init__(
        self,
        program: Path,
        server: Server,
        connections: int,
        *,
        query: str = "",
        tokens: Sequence[str] = (),
        greeting_frames: int = 0,
        expected_frames: int = 0,
        is_busy: bool = False,
    ) -> None:
        self._connections = connections
        self._tokens = tempfile.NamedTemporaryFile("w", suffix=".txt")  # noqa: SIM115 - closed on exit
        path = f"/v1/realtime?project={PROJECT}&{query}"
        if tokens:
            path += "&jwt={line}"
            self._tokens.write("\n".join(tokens))
            self._tokens.flush()
        command = [str(program), str(server.port), path, str(connections), "-g", str(greeting_frames)]
        if tokens:
            command += ["-f", self._tokens.name]
        if is_busy:
            command.append("-b")
        if expected_frames:
            command += ["-e", str(expected_frames)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._tokens.close()

    def opened(self) -> float:
        """Wait until all connections are open; return how long that took, in seconds."""
        report = self._read()
        if report["failed"]:
            sys.exit(f"{report['failed']} of {self._connections} connections could not be opened.")
        return float(report["open_s"])

    def finished(self) -> dict[str, Any]:
        """Wait until every connection has received what was expected; return the report of ``wsload``."""
        report = self._read()
        if report["lost"]:
            sys.exit(f"{report['lost']} of {self._connections} connections were lost.")
        return report

    def stop(self) -> dict[str, Any]:
        """Close the connections; return the report of ``wsload``."""
        self._process.terminate()
        return self.finished()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit("wsload ended without a report.")
        report: dict[str, Any] = json.loads(line)
        return report
