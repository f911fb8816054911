"""Where Redis is, and clients for it with the time limits that the rest of the system counts on."""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import TimeoutError as RedisTimeoutError

from realtime.settings import Settings

MAX_SOCKET_PATH_BYTES = 100
"""Unix sockets have short addresses: 108 bytes on Linux, 104 on macOS, with the final zero."""

_OPTIONS: dict[str, Any] = {
    "client_name": "realtime",
    "socket_connect_timeout": 5,
    "socket_timeout": 5,
    # A pooled connection that was idle for so long is tried before it is used.
    "health_check_interval": 15,
    "max_connections": 32,
    # How long a command waits for one of them.
    "timeout": 5,
}


class _Cancellable(AbstractConnection):
    """A connection whose commands can be cancelled at any moment.

    redis-py sends under ``asyncio.wait_for``, which in Python 3.11 swallows a cancellation that comes while its
    task ends: a loop over commands would then go on for ever. It also starts a task for each command.
    """

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        """Send a command within the socket timeout, which for this moment is kept by other means."""
        timeout_s, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(timeout_s):
                await super().send_packed_command(command, check_health)
        except TimeoutError as error:
            raise RedisTimeoutError("Timeout writing to socket") from error
        finally:
            self.socket_timeout = timeout_s


class _TcpConnection(_Cancellable, Connection):
    pass


class _TlsConnection(_Cancellable, SSLConnection):
    pass


class _UnixConnection(_Cancellable, UnixDomainSocketConnection):
    pass


_CANCELLABLE: dict[type[AbstractConnection], type[AbstractConnection]] = {
    Connection: _TcpConnection,
    SSLConnection: _TlsConnection,
    UnixDomainSocketConnection: _UnixConnection,
}


def connect(url: str, **options: Any) -> Redis:
    """Return an asyncio client for ``redis://``, ``rediss://`` (TLS) or ``unix://``. Nothing is sent yet.

    Answers are bytes. Connecting and every command take at most 5 s; a command waits for one of 32 pooled
    connections if need be. A command whose answer did not arrive is not sent again: only the caller knows
    whether doing it twice is harmless. Close it with ``aclose()``.

    Args:
        url: Where Redis is, with user, password and database if there are any.
        options: Anything else that :class:`redis.asyncio.Redis` takes; wins over the above.

    Raises:
        ValueError: The URL is not of a known kind.
    """
    # The client library would otherwise repeat commands on its own, publishing ones too.
    defaults = {**_OPTIONS, "retry": Retry(NoBackoff(), 0)}
    pool = BlockingConnectionPool.from_url(url, **{**defaults, **options})
    pool.connection_class = _CANCELLABLE[pool.connection_class]
    return Redis.from_pool(pool)


def redis_url(settings: Settings) -> str:
    """Return the URL of the Redis that ``settings`` name; of the data folder's own server if they name none."""
    return settings.redis_url or embedded_url(settings.data_dir)


def embedded_url(data_dir: Path) -> str:
    """Return the URL of the embedded server of ``data_dir``, running or not."""
    return f"unix://{embedded_socket(data_dir)}"


def embedded_socket(data_dir: Path) -> Path:
    """Return where the embedded server of ``data_dir`` has its socket.

    Always the same for the same folder, so that a second program (a publisher in another terminal) finds the
    server that is running. Where the folder's path is too long for a socket, a folder of this user under the
    system's temporary folder stands in.

    Raises:
        PermissionError: Somebody else owns the folder that would stand in.
    """
    path = data_dir.resolve() / "valkey.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"realtime-{os.getuid()}-{digest}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else; choose a shorter data folder.")
    return folder / "valkey.sock"
