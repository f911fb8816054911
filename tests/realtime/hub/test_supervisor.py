"""The supervisor keeps its number of processes, passes the signal on, and leaves nothing behind."""

import os
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

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
