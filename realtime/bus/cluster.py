"""A client of a Redis Cluster: each command goes to the server that owns its key's slot.

redis-py's own client of this kind raises errors that are no ``RedisError`` while the cluster fails over, and sends
``ASKING`` over another connection than the command that it is for. What this system needs is less: every command,
script and pipeline has its keys in one slot.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, ReadOnlyError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from realtime.bus.connections import client_of, url_options
from realtime.bus.topology import ClusterUrl, Node

SLOTS = 16384
"""How many slots a cluster has."""

_REDIRECTIONS = 5
"""How often a command follows the servers' word that the slot is elsewhere."""
_ASK_TIMEOUT_S = 2.0
"""How long one server may take to say who owns what before the next one is asked."""
_EVERYWHERE = frozenset({"PING", "SCRIPT LOAD"})
"""Commands without a key that concern every server that owns slots."""
_KEY_AT: Mapping[str, int] = {"EVAL": 3, "EVALSHA": 3, "INFO": 0, "TIME": 0, "SCAN": 0, "CLIENT GETNAME": 0}
"""Where the key of a command is, if it is not the first argument; 0 for none."""

Owners: TypeAlias = Sequence[Node | None]
"""Who owns each slot; None for nobody."""

_Send: TypeAlias = Callable[[Redis], Awaitable[Any]]
"""Sends something to one server, and returns the answer."""


class ClusterNodes:
    """Clients of the servers of one cluster, and who owns which slot. Made by URL; nothing is sent yet."""

    def __init__(self, url: ClusterUrl, **options: Any) -> None:
        self._seeds = url.hosts
        self._is_tls = url.is_tls
        self._options = {**url_options(url.query, url.credentials, is_tls=url.is_tls), **options}
        self._clients: dict[Node, Redis] = {}
        self._known: set[Node] = set()

    def open_client(self, node: Node, **options: Any) -> Redis:
        """Return a new client of a server; close it."""
        return client_of(node, is_tls=self._is_tls, **{**self._options, **options})

    def client(self, node: Node) -> Redis:
        """Return the client of a server that all commands share."""
        client = self._clients.get(node)
        if client is None:
            client = self._clients[node] = self.open_client(node)
        return client

    async def find_owners(self) -> Owners:
        """Ask who owns the slots: any server that knows.

        Raises:
            RedisConnectionError: None does.
        """
        # At random, so that one whose view is old is not asked again and again.
        nodes = list(self._known.union(self._seeds))
        random.shuffle(nodes)
        failure: Exception | None = None
        for node in nodes:
            try:
                async with asyncio.timeout(_ASK_TIMEOUT_S):
                    ranges = await self.client(node).execute_command("CLUSTER SLOTS")  # type: ignore[no-untyped-call]
            except (RedisConnectionError, RedisTimeoutError, TimeoutError, OSError) as error:
                failure = error
                continue
            owners = parse_slots(ranges, node[0])
            known = {owner for owner in owners if owner is not None}
            if not known:
                failure = RedisConnectionError("It is of no cluster, or of one that has given out no slots.")
                continue
            self._known = known
            await self._disconnect_all_but(self._known.union(self._seeds))
            return owners
        raise RedisConnectionError(
            f"No server of the Redis Cluster tells who owns the slots: {failure}"
        ) from failure

    async def aclose(self) -> None:
        """Close all clients."""
        while self._clients:
            await self._clients.popitem()[1].aclose()

    async def _disconnect_all_but(self, nodes: set[Node]) -> None:
        # Not closed: somebody may be about to use them, and would open connections that nobody closes any more.
        for node in self._clients.keys() - nodes:
            await self._clients[node].connection_pool.disconnect(inuse_connections=False)


def parse_slots(ranges: Sequence[Any], asked_host: str) -> Owners:
    """Return who owns each slot.

    Args:
        ranges: The answer to ``CLUSTER SLOTS``: first slot, last slot, and host, port and more of each server, the
            owner first.
        asked_host: The host of the server that answered, which does not always know its own.
    """
    owners: list[Node | None] = [None] * SLOTS
    for first, last, (host, port, *_), *_ in ranges:
        node = (host.decode() if host else asked_host, int(port))
        owners[first : last + 1] = [node] * (last + 1 - first)
    return owners


def slot_of(command: Sequence[Any]) -> int | None:
    """Return the slot of a command's key; None when it has none.

    A ``SCAN`` is for the slot of its pattern, which here always begins with a hash tag.
    """
    name = str(command[0]).upper()
    position = _KEY_AT.get(name, 1)
    if name == "SCAN":
        position = command.index(b"MATCH") + 1 if b"MATCH" in command else 0
    if not position or len(command) <= position:
        return None
    key = command[position]
    return int(key_slot(key if isinstance(key, bytes) else str(key).encode()))


class ClusterClient(Redis):
    """What :class:`redis.asyncio.Redis` is for one server, for a cluster. Each pipeline is for one slot.

    Redirections are followed, since a server that redirects has executed nothing. After any other failure the next
    command asks anew who owns what.
    """

    def __init__(self, nodes: ClusterNodes, seed: Node) -> None:
        """Use ``nodes``, which are closed with the client."""
        self._nodes = nodes
        # None when they must be asked for.
        self._owners: Owners | None = None
        self._asking = asyncio.Lock()
        # Scripts and pipelines take their encoding from the pool; no command uses it.
        super().__init__(connection_pool=nodes.client(seed).connection_pool)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send a command to the server that it concerns."""

        async def send(redis: Redis) -> Any:
            return await redis.execute_command(*args, **options)  # type: ignore[no-untyped-call]

        async def send_asking(redis: Redis) -> Any:
            async with redis.pipeline(transaction=False) as pipeline:
                pipeline.execute_command("ASKING")
                pipeline.execute_command(*args, **options)
                return (await pipeline.execute())[1]

        if str(args[0]).upper() in _EVERYWHERE:
            nodes = {node for node in await self._know_owners() if node is not None}
            answers = [await self._attempt(node, send) for node in nodes]
            return answers[0]
        return await self.follow(slot_of(args) or 0, send, send_asking)

    async def follow(self, slot: int, send: _Send, send_asking: _Send) -> Any:
        """Have ``send`` send to the server that owns a slot, and follow redirections."""
        node = (await self._know_owners())[slot]
        if node is None:
            self._owners = None
            raise RedisConnectionError(f"No server of the Redis Cluster owns slot {slot}.")
        for _ in range(_REDIRECTIONS):
            try:
                return await self._attempt(node, send)
            except MovedError as error:
                self._owners = None
                node = (error.host or node[0], int(error.port))
            except AskError as error:
                return await self._attempt((error.host or node[0], int(error.port)), send_asking)
        raise RedisConnectionError("The servers of the Redis Cluster do not agree who owns a slot.")

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """Return a pipeline for keys of one slot."""
        return _ClusterPipeline(self, transaction, shard_hint)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:  # noqa: ARG002 - the base's
        """Close all connections."""
        await self._nodes.aclose()

    async def _know_owners(self) -> Owners:
        owners = self._owners
        if owners is None:
            async with self._asking:
                owners = self._owners
                if owners is None:
                    owners = self._owners = await self._nodes.find_owners()
        return owners

    async def _attempt(self, node: Node, send: _Send) -> Any:
        try:
            return await send(self._nodes.client(node))
        except (RedisConnectionError, RedisTimeoutError, ClusterDownError, ReadOnlyError):
            self._owners = None
            raise


class _ClusterPipeline(Pipeline):
    """Commands for one slot, sent together to the server that owns it."""

    def __init__(self, client: ClusterClient, transaction: bool, shard_hint: str | None) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, transaction, shard_hint)
        self._client = client

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send what was gathered, and return the answers."""
        stack = list(self.command_stack)
        if not stack:
            return []

        async def send(redis: Redis) -> Any:
            self.command_stack, self.connection_pool = list(stack), redis.connection_pool
            return await Pipeline.execute(self, raise_on_error)

        async def refuse(_: Redis) -> Any:
            raise TryAgainError("The keys are on their way to another server.")

        answers: list[Any] = await self._client.follow(slot_of(stack[0][0]) or 0, send, refuse)
        return answers
