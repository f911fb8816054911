"""A TCP proxy with one port in front of several hubs: where clients come back to, and where faults are injected."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

_RECEIVE_BUFFER_BYTES = 32_768


class Gateway:
    """Carries each connection to one of the backends in turn; one that refuses is passed over.

    Faults are methods: :meth:`cut` breaks what is open, :meth:`refuse` also what is tried from then on, and
    :meth:`swallow` is a network that takes everything and brings nothing, until the connections are cut.
    """

    def __init__(self) -> None:
        self.port = 0
        # How many connections were carried to a backend.
        self.carried = 0
        self.is_swallowing = False
        self._backends: list[int] = []
        self._is_refusing = False
        self._open: set[_Side] = set()
        self._opening: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator["Gateway"]:
        """Serve on a free port of 127.0.0.1; cut what is open at the end."""
        gateway = cls()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _ClientSide(gateway), "127.0.0.1", 0, backlog=1024)
        gateway.port = server.sockets[0].getsockname()[1]
        try:
            yield gateway
        finally:
            server.close()
            gateway.refuse()
            await asyncio.gather(*gateway._opening, return_exceptions=True)
            await server.wait_closed()

    @property
    def carrying(self) -> int:
        """How many clients have an open connection to a backend."""
        return sum(isinstance(side, _ClientSide) and side.is_joined for side in self._open)

    def route(self, *ports: int) -> None:
        """Take new connections to these ports of 127.0.0.1; those that are open stay where they are."""
        self._backends = list(ports)

    def cut(self) -> None:
        """Break every open connection; what was on its way is gone."""
        self.is_swallowing = False
        for side in list(self._open):
            side.transport.abort()

    def refuse(self) -> None:
        """Break every open connection, and every new one at once."""
        self._is_refusing = True
        self.cut()

    def accept(self) -> None:
        """Let new connections through again."""
        self._is_refusing = False

    def swallow(self) -> None:
        """Lose everything that is sent from now on, in both directions, and let nobody notice; until the next cut."""
        self.is_swallowing = True

    def stall(self) -> None:
        """Read nothing more from the hubs on the connections that are open, as a client that is too slow."""
        for side in self._open:
            side.stall()

    def flow(self) -> None:
        """Let everything through that was held up, and with it how the hub ended the connection, if it did."""
        for side in self._open:
            side.flow()

    def abandon(self) -> None:
        """Break every open connection for its client, while its hub does not notice; until the next cut."""
        for side in list(self._open):
            side.abandon()

    def opened(self, client: "_ClientSide") -> None:
        """Find a backend for a new connection. Called by the connection."""
        if self._is_refusing:
            client.transport.abort()
            return
        self._open.add(client)
        task = asyncio.get_running_loop().create_task(self._connect(client))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def closed(self, side: "_Side") -> None:
        """Forget one side of a connection. Called by it."""
        self._open.discard(side)

    async def _connect(self, client: "_ClientSide") -> None:
        for _ in range(len(self._backends)):
            port = self._backends[0]
            self._backends = [*self._backends[1:], port]
            try:
                backend = await self._connect_to(port)
            except OSError:
                continue
            self.carried += 1
            self._open.add(backend)
            client.join(backend)
            return
        client.transport.abort()

    async def _connect_to(self, port: int) -> "_HubSide":
        loop = asyncio.get_running_loop()
        connecting = socket.socket()
        connecting.setblocking(False)
        # So little that a hub soon notices when nobody reads.
        connecting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        try:
            await loop.sock_connect(connecting, ("127.0.0.1", port))
            _, side = await loop.create_connection(lambda: _HubSide(self), sock=connecting)
        except BaseException:
            connecting.close()
            raise
        return side


class _Side(asyncio.Protocol):
    """One side of a carried connection. Clients of these tests are quick, so nothing limits what is buffered."""

    transport: asyncio.Transport

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._peer: _Side | None = None
        self._is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._peer is not None and not self._gateway.is_swallowing:
            self._peer.transport.write(data)

    def eof_received(self) -> None:
        """Close: neither WebSocket peer goes on after the other has ended."""

    def stall(self) -> None:
        """Read no more from the hub; for the hub's side."""

    def flow(self) -> None:
        """Read on."""

    def abandon(self) -> None:
        """Cut the client off, and stay connected to the hub; for the client's side."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        self._gateway.closed(self)
        if self._peer is None:
            return
        if exc is None:
            # A close that was orderly stays so: what was sent before it still arrives.
            self._peer.transport.close()
        else:
            self._peer.transport.abort()


class _HubSide(_Side):
    """The hub's side; it can be as slow as the slowest client."""

    def stall(self) -> None:
        self.transport.pause_reading()

    def flow(self) -> None:
        self.transport.resume_reading()


class _ClientSide(_Side):
    """The client's side; it keeps what comes before a backend is found."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(gateway)
        self._early = b""

    @property
    def is_joined(self) -> bool:
        return self._peer is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._gateway.opened(self)

    def data_received(self, data: bytes) -> None:
        if self._peer is None:
            self._early += data
        super().data_received(data)

    def abandon(self) -> None:
        backend, self._peer = self._peer, None
        if backend is not None:
            backend._peer = None
        self.transport.abort()

    def join(self, backend: _Side) -> None:
        """Send everything to ``backend`` from now on, and the other way round."""
        if self._is_lost:
            backend.transport.abort()
            return
        self._peer, backend._peer = backend, self
        backend.transport.write(self._early)
