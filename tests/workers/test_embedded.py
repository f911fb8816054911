import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from workers import embedded
from workers.embedded import EmbeddedValkey, EmbeddedValkeyError, embedded_url

pytestmark = pytest.mark.integration


def wait_until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


_OWNER = """
import sys, time
from pathlib import Path
from workers.embedded import EmbeddedValkey

server = EmbeddedValkey(Path(sys.argv[1]))
server.start()
print(server.pid, server._guard.pid, flush=True)
time.sleep(60)
"""


class Owner:
    """A process that has started a server; `server` and `guard` are process IDs. The server holds `greeting`."""

    def __init__(self, data_dir: Path) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", _OWNER, str(data_dir)], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.server, self.guard = map(int, self.process.stdout.readline().split())
        with redis.Redis.from_url(embedded_url(data_dir)) as client:
            client.set("greeting", "hello")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    one = Owner(tmp_path)
    yield one
    one.kill()
    assert one.process.stdout is not None
    one.process.stdout.close()
    if is_running(one.server):
        os.kill(one.server, signal.SIGKILL)


class TestEmbeddedValkey:
    def test_server_answers_on_a_socket_that_only_its_user_can_open(self, tmp_path: Path) -> None:
        with EmbeddedValkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
            assert client.ping()
            assert server.url == f"unix://{tmp_path}/valkey.sock"
            assert stat.S_IMODE((tmp_path / "valkey.sock").stat().st_mode) == 0o700

    def test_server_ends_with_the_block(self, tmp_path: Path) -> None:
        with EmbeddedValkey(tmp_path) as server:
            pid = server.pid
            assert is_running(pid)

        assert not is_running(pid)
        assert server.pid == 0

    def test_stop_twice_is_harmless(self, tmp_path: Path) -> None:
        server = EmbeddedValkey(tmp_path, persist=False)
        server.start()
        server.stop()
        server.stop()

    def test_data_outlives_the_server(self, tmp_path: Path) -> None:
        with EmbeddedValkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
            client.set("greeting", "hello")

        with EmbeddedValkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
            assert client.get("greeting") == b"hello"

    def test_missing_data_folder_is_made(self, tmp_path: Path) -> None:
        with EmbeddedValkey(tmp_path / "a" / "b") as server, redis.Redis.from_url(server.url) as client:
            assert client.ping()

    def test_port_is_listened_on_as_well(self, tmp_path: Path, free_port: Callable[[], int]) -> None:
        port = free_port()
        with EmbeddedValkey(tmp_path, port=port) as server, redis.Redis.from_url(server.url) as client:
            assert server.url == f"redis://127.0.0.1:{port}"
            assert client.ping()

    def test_folder_in_use_is_an_error_that_names_the_owner(self, tmp_path: Path) -> None:
        with (
            EmbeddedValkey(tmp_path),
            pytest.raises(EmbeddedValkeyError, match=rf"in use by another process \(ID {os.getpid()}\)"),
        ):
            EmbeddedValkey(tmp_path).start()

    def test_failed_start_leaves_the_owner_running(self, tmp_path: Path) -> None:
        with EmbeddedValkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
            with pytest.raises(EmbeddedValkeyError):
                EmbeddedValkey(tmp_path).start()
            assert client.ping()

    def test_server_and_guard_end_with_their_owner_and_keep_the_data(
        self, tmp_path: Path, owner: Owner
    ) -> None:
        owner.kill()

        wait_until(lambda: not is_running(owner.server) and not is_running(owner.guard))
        with EmbeddedValkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
            assert client.get("greeting") == b"hello"

    def test_owner_killed_a_moment_ago_is_no_obstacle(self, tmp_path: Path, owner: Owner) -> None:
        owner.kill()

        with EmbeddedValkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
            assert client.get("greeting") == b"hello"
            wait_until(lambda: not is_running(owner.server))
            assert client.ping()

    def test_server_left_behind_is_replaced_and_its_data_kept(self, tmp_path: Path, owner: Owner) -> None:
        os.kill(owner.guard, signal.SIGKILL)
        wait_until(lambda: not is_running(owner.guard))
        owner.kill()
        assert is_running(owner.server)

        with EmbeddedValkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
            assert client.get("greeting") == b"hello"
            wait_until(lambda: not is_running(owner.server))

    def test_server_that_ends_while_it_is_needed_is_logged(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lines: list[tuple[str, int]] = []

        class Log:
            def error(self, event: str, *, exit_code: int, log_file: str) -> None:
                assert log_file == str(tmp_path / "valkey.log")
                lines.append((event, exit_code))

        monkeypatch.setattr(embedded, "log", Log())
        with EmbeddedValkey(tmp_path) as server:
            os.kill(server.pid, signal.SIGKILL)
            wait_until(lambda: bool(lines))
            wait_until(lambda: server._guard is None)

        ((event, exit_code),) = lines
        assert "start it again" in event
        assert exit_code == -signal.SIGKILL

    def test_stop_logs_nothing_and_leaves_no_guard(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Any line would fail: the log has no methods.
        monkeypatch.setattr(embedded, "log", object())
        with EmbeddedValkey(tmp_path) as server:
            assert server._guard is not None
            guard = server._guard.pid

        assert not is_running(guard)

    def test_binary_that_cannot_run_is_a_clear_error(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(embedded, "get_binary_path", lambda: tmp_path / "missing")

        with pytest.raises(EmbeddedValkeyError, match="REALTIME_REDIS_URL"):
            EmbeddedValkey(tmp_path).start()

    def test_server_that_ends_at_once_is_an_error_with_its_last_words(self, tmp_path: Path) -> None:
        (tmp_path / "appendonlydir").write_text("not a folder")

        with pytest.raises(EmbeddedValkeyError, match=r"(?s)did not start.*appendonlydir"):
            EmbeddedValkey(tmp_path).start()

    def test_folder_is_free_again_after_a_failed_start(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(embedded, "get_binary_path", lambda: tmp_path / "missing")
            with pytest.raises(EmbeddedValkeyError):
                EmbeddedValkey(tmp_path).start()

        with EmbeddedValkey(tmp_path) as server:
            assert server.pid

    def test_folder_with_a_long_path_has_its_socket_elsewhere(self, tmp_path: Path) -> None:
        data_dir = tmp_path / ("x" * 120)
        with EmbeddedValkey(data_dir) as server, redis.Redis.from_url(embedded_url(data_dir)) as client:
            assert client.ping()
        Path(server.url.removeprefix("unix://")).parent.rmdir()
