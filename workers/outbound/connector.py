"""The connector of `aiohttp` that holds its sessions to what a guard lets them connect to.

For who makes many requests at a time, each of them small: a request by `aiohttp` costs a tenth and less of one by
`httpx` (``benchmarks/deliveries.py``), which everything else that goes out uses, by
:class:`~workers.outbound.guard.PublicOnlyTransport`. Source: wire specification 11.5.
"""

import asyncio
import functools
import socket
import weakref
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey

from workers.outbound.guard import Guard
from workers.outbound.responses import BoundedResponseHandler
from workers.outbound.targets import Target, TargetError

KEEP_ALIVE_S = 4.0
"""For how long a connection is kept for the next request: less than the 5 s after which common servers close it."""


class RefusedError(OSError):
    """Nothing may be connected to there. The ``os_error`` of an :class:`aiohttp.ClientConnectorError`."""


class PublicOnlyConnector(aiohttp.TCPConnector):
    """Connects only to where ``guard`` lets it, for sessions of one event loop.

    A name's addresses are judged when it is resolved, all of them; and the very address that a socket is made for is
    judged once more, however it came there: an address in the URL is never resolved. Nothing lies between that and
    connecting. What they send besides responses is bounded (:mod:`workers.outbound.responses`).

    Args:
        guard: what may be connected to.
        max_connections: how many may be open for one to be kept when it was used. No request waits for another: that
            many more may be opened as the caller makes requests at a time.
    """

    def __init__(self, guard: Guard, *, max_connections: int) -> None:
        self._names = _GuardedResolver(guard)
        super().__init__(
            resolver=self._names,
            use_dns_cache=False,
            limit=0,
            keepalive_timeout=KEEP_ALIVE_S,
            socket_factory=self._make_socket,
        )
        # What reads the responses of every connection. There is no option for that.
        make: Callable[..., ResponseHandler] = BoundedResponseHandler
        self._factory = functools.partial(make, loop=self._loop)
        self._guard = guard
        self._max_connections = max_connections
        self._open: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    async def close(self, *, abort_ssl: bool = False) -> None:
        """Close all connections; whoever waits for a name gets an error."""
        await self._names.close()
        await super().close(abort_ssl=abort_ssl)

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        # The parent keeps any number, and has no option for that.
        too_many = len(self._open) > self._max_connections
        super()._release(key, protocol, should_close=should_close or too_many)

    def _make_socket(self, address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, sockaddr = address
        try:
            self._guard.judge(Target(str(sockaddr[0]), sockaddr[1], ip_address(sockaddr[0])))
        except TargetError as error:
            raise RefusedError(str(error)) from error
        return _CountedSocket(self._open, family, kind, protocol)


class _CountedSocket(socket.socket):
    """Is one of ``counted`` until it is closed."""

    def __init__(self, counted: weakref.WeakSet[socket.socket], *kind: int) -> None:
        super().__init__(*kind)
        self._counted = counted
        counted.add(self)

    def close(self) -> None:
        self._counted.discard(self)
        super().close()


class _GuardedResolver(AbstractResolver):
    """Resolves names to addresses that were judged.

    However many ask for a name at a time, it is looked up once: names whose servers do not answer take a thread each,
    not one for every request to them.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._asked: dict[tuple[str, int], asyncio.Task[list[str]]] = {}

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - the interface's
    ) -> list[ResolveResult]:
        asked = self._asked.get((host, port))
        if asked is None:
            asked = self._asked[host, port] = asyncio.create_task(self._guard.resolve(host, port))
            asked.add_done_callback(lambda done: self._forget(host, port, done))
        try:
            addresses = await asyncio.shield(asked)
        except TargetError as error:
            raise RefusedError(str(error)) from error
        except asyncio.CancelledError:
            if asked.cancelled():
                raise OSError("Names are not looked up any more.") from None
            raise
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        asked = list(self._asked.values())
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)

    def _forget(self, host: str, port: int, asked: asyncio.Task[list[str]]) -> None:
        del self._asked[host, port]
        if not asked.cancelled():
            # Those who asked may have given up: then nobody has seen the error.
            asked.exception()
