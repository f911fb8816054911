"""Where Redis is, and clients for it with the time limits that the rest of the system counts on."""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from realtime.bus.cluster import ClusterClient, ClusterNodes
from realtime.bus.connections import single
from realtime.bus.sentinel import master
from realtime.bus.topology import ClusterUrl, SentinelUrl, parse_redis_url
from realtime.settings import Settings

MAX_SOCKET_PATH_BYTES = 100
"""Unix sockets have short addresses: 108 bytes on Linux, 104 on macOS, with the final zero."""


def connect(url: str, **options: Any) -> Redis:
    """Return an asyncio client for a server, a master that Sentinels watch, or a Cluster. Nothing is sent yet.

    Answers are bytes. Connecting and every command take at most 5 s; a command waits for one of 32 pooled
    connections (to each server of a cluster) if need be. A command whose answer did not arrive is not sent again: only
    the caller knows whether doing it twice is harmless. Close it with ``aclose()``.

    Args:
        url: ``redis://``, ``rediss://`` (TLS), ``unix://``; ``redis-sentinel://host:26379,host2:26379/<service>[/<db>]``;
            ``redis-cluster://host:6379,host2:6379``; with user and password if there are any. ``rediss-sentinel://``
            and ``rediss-cluster://`` for TLS.
        options: Anything else that :class:`redis.asyncio.Redis` takes; wins over the above.

    Raises:
        RedisUrlError: The URL is not of a known kind; also a :class:`ValueError`.
    """
    parsed = parse_redis_url(url)
    if isinstance(parsed, SentinelUrl):
        return master(parsed, **options)
    if isinstance(parsed, ClusterUrl):
        return ClusterClient(ClusterNodes(parsed, **options), parsed.hosts[0])
    return single(parsed, **options)


def publish_command(redis: Redis) -> str:
    """Return the command by which scripts publish on live channels: on a cluster, these are a shard's."""
    return "SPUBLISH" if isinstance(redis, ClusterClient) else "PUBLISH"


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
