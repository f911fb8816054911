"""Where a listener's connections go: which server each bucket of projects is heard from, by kind of Redis."""

from collections.abc import Sequence
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import ConnectionError as RedisConnectionError

from realtime.bus import sentinel
from realtime.bus.cluster import ClusterNodes
from realtime.bus.connections import client_of, single, url_options
from realtime.bus.keys import BUCKETS
from realtime.bus.sentinel import NotMasterError, find_master, require_master
from realtime.bus.topology import Node, SentinelUrl, parse_redis_url

_HERE: Node = ("", 0)
"""The one server of a URL that names a single one."""

BUCKET_SLOTS = [int(key_slot(b"{b%d}" % number)) for number in range(BUCKETS)]
"""The slot of each bucket's keys and channels."""


class Nodes(Protocol):
    """The servers of a Redis."""

    is_sharded: bool
    """Whether live channels are those of shards."""

    async def locate(self) -> Sequence[Node]:
        """Return the server for each bucket, as of now.

        Raises:
            redis.RedisError: It cannot be found out, or a bucket has none.
        """

    def client(self, node: Node, **options: Any) -> Redis:
        """Return a new client of a server; close it. Nothing is sent yet."""

    async def verify(self, node: Node, redis: Redis) -> None:
        """Make sure that a server still is where events are written.

        Raises:
            NotMasterError: It is not.
            redis.RedisError: It cannot be found out.
        """

    async def aclose(self) -> None:
        """Close what :meth:`locate` asks by."""


def nodes_of(url: str) -> Nodes:
    """Return the servers of a URL. Nothing is sent yet.

    Raises:
        RedisUrlError: The URL is not of a known kind.
    """
    parsed = parse_redis_url(url)
    if isinstance(parsed, str):
        return _Single(parsed)
    if isinstance(parsed, SentinelUrl):
        return _Watched(parsed)
    return _Sharded(ClusterNodes(parsed))


class _Single:
    """One server, for everything."""

    is_sharded = False

    def __init__(self, url: str) -> None:
        self._url = url

    async def locate(self) -> Sequence[Node]:
        return [_HERE] * BUCKETS

    def client(self, node: Node, **options: Any) -> Redis:  # noqa: ARG002 - there is one only
        return single(self._url, **options)

    async def verify(self, node: Node, redis: Redis) -> None:
        """Nobody else could be asked."""

    async def aclose(self) -> None:
        """There is nothing to close."""


class _Watched:
    """The master that Sentinels watch."""

    is_sharded = False

    def __init__(self, url: SentinelUrl) -> None:
        self._url = url
        self._options = {**url_options(url.query, url.credentials, is_tls=url.is_tls), "db": url.database}
        self._sentinel = sentinel.watchers(url)

    async def locate(self) -> Sequence[Node]:
        """Ask the Sentinels for the master, which has all buckets."""
        return [await find_master(self._sentinel, self._url.service)] * BUCKETS

    def client(self, node: Node, **options: Any) -> Redis:
        return client_of(node, is_tls=self._url.is_tls, **{**self._options, **options})

    async def verify(self, node: Node, redis: Redis) -> None:
        """Ask the server, and then the Sentinels."""
        await require_master(redis)
        # One that was cut off, or killed and started again, may believe for a while that it still is the master.
        if await find_master(self._sentinel, self._url.service) != node:
            raise NotMasterError("The Sentinels have made another server the master.")

    async def aclose(self) -> None:
        await self._sentinel.aclose()


class _Sharded:
    """The primaries of a cluster."""

    is_sharded = True

    def __init__(self, nodes: ClusterNodes) -> None:
        self._nodes = nodes

    async def locate(self) -> Sequence[Node]:
        """Ask the servers who owns the buckets' slots."""
        owners = await self._nodes.find_owners()
        places = [owner for slot in BUCKET_SLOTS if (owner := owners[slot]) is not None]
        if len(places) < BUCKETS:
            raise RedisConnectionError("The Redis Cluster does not serve all slots.")
        return places

    def client(self, node: Node, **options: Any) -> Redis:
        return self._nodes.open_client(node, **options)

    async def verify(self, node: Node, redis: Redis) -> None:  # noqa: ARG002 - it knows itself
        """Ask the server. Which slots are its own it tells by refusing the others."""
        await require_master(redis)

    async def aclose(self) -> None:
        await self._nodes.aclose()
