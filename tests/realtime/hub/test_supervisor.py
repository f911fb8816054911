"""The supervisor keeps its number of processes, passes the signal on, and leaves nothing behind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from realtime.hub import supervisor
from realtime.hub.metrics import MULTIPROCESS_VARIABLE
from realtime.hub.supervisor import supervise


class Log:
    """Takes the place of the log, to know what the supervisor does; stops it after so many starts."""

    def __init__(self, stop_after: int) -> None:
        self.stop_after = stop_after
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def count(self, event: str) -> int:
        return sum(1 for line, _ in self.lines if line == event)

    def info(self, event: str, **values: Any) -> None:
        self.lines.append((event, values))
        if self.count("worker started") == self.stop_after:
            os.kill(os.getpid(), signal.SIGTERM)

    error = info


def process_ids(log: Log) -> list[int]:
    return [values["pid"] for event, values in log.lines if event == "worker started"]


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


class TestSupervise:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_signal_ends_every_process(self, monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
        log = Log(stop_after=0)
        monkeypatch.setattr(supervisor, "log", log)
        handler = signal.getsignal(number)
        shared: list[Path] = []

        def ready() -> None:
            shared.append(Path(os.environ[MULTIPROCESS_VARIABLE]))
            assert shared[0].is_dir()
            assert all(is_alive(pid) for pid in process_ids(log))
            # The second one finds it stopping already.
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)

        supervise(2, partial(time.sleep, 60), ready)

        assert len(process_ids(log)) == 2
        assert not any(is_alive(pid) for pid in process_ids(log))
        assert MULTIPROCESS_VARIABLE not in os.environ
        assert not shared[0].exists()
        assert signal.getsignal(number) is handler

    def test_what_a_process_starts_inherits_nothing_that_it_was_handed(self, tmp_path: Path) -> None:
        found = tmp_path / "found"
        command = f"readlink /proc/$$/fd/* > {found}; kill -TERM {os.getpid()}"
        with socket.create_server(("127.0.0.1", 0)) as listening:
            # Started as event loops do that leave it to the descriptors what is inherited; the socket is handed over.
            work: Any = partial(subprocess.run, ["sh", "-c", command], close_fds=False, stdin=listening)
            supervise(1, work)
        assert len(found.read_text().splitlines()) == 3

    def test_signal_while_all_is_well_ends_every_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        log = Log(stop_after=0)
        monkeypatch.setattr(supervisor, "log", log)
        later = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM))

        supervise(1, partial(time.sleep, 60), later.start)

        assert not any(is_alive(pid) for pid in process_ids(log))

    def test_process_that_ends_on_its_own_is_replaced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        log = Log(stop_after=3)
        monkeypatch.setattr(supervisor, "log", log)
        monkeypatch.setattr(supervisor, "_RESTART_DELAY_S", 0)

        supervise(1, partial(os._exit, 7))

        assert len(set(process_ids(log))) == 3
        ended = [values for event, values in log.lines if event == "worker ended unexpectedly"]
        assert [values["exit_code"] for values in ended] == [7, 7]

    def test_signal_during_the_pause_starts_nothing_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class StopOnFailure(Log):
            def error(self, event: str, **values: Any) -> None:
                super().info(event, **values)
                os.kill(os.getpid(), signal.SIGTERM)

        log = StopOnFailure(stop_after=0)
        monkeypatch.setattr(supervisor, "log", log)
        monkeypatch.setattr(supervisor, "_RESTART_DELAY_S", 60)

        supervise(1, partial(os._exit, 7))

        assert log.count("worker started") == 1


_PROGRAM = """
import sys
from functools import partial
from pathlib import Path

from realtime.hub.server import serve
from realtime.settings import Settings
from workers.embedded import EmbeddedValkey

if __name__ == "__main__":
    with EmbeddedValkey(Path(sys.argv[1]), persist=False) as valkey:
        settings = Settings(redis_url=valkey.url, port=int(sys.argv[2]), workers=2, drain_window_s=0)
        serve(settings, ready=partial(print, valkey.pid, flush=True))
"""


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_worker(pid: int) -> bool:
    return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.integration
class TestKilledSupervisor:
    def test_workers_and_embedded_server_end_and_the_port_is_free(
        self, tmp_path: Path, free_port: Callable[[], int]
    ) -> None:
        program, port = tmp_path / "program.py", free_port()
        program.write_text(_PROGRAM)
        process = subprocess.Popen(
            [sys.executable, str(program), str(tmp_path / "data"), str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
            # So that whatever might be left can be ended.
            start_new_session=True,
        )
        try:
            assert process.stdout is not None
            valkey = int(process.stdout.readline())
            # A process that was just forked does not go by its own name yet.
            wait_until(lambda: sum(map(is_worker, children(process.pid))) == 2)
            workers = [pid for pid in children(process.pid) if is_worker(pid)]
            wait_until(lambda: answers(port))

            process.kill()
            process.wait()

            wait_until(lambda: not any(is_running(pid) for pid in [*workers, valkey]))
            assert not is_listening(port)
            with socket.create_server(("127.0.0.1", port)):
                pass
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/v1/health", trust_env=False, timeout=2).status_code == 200
    except httpx.TransportError:
        return False
