"""How clients are connected to one server: time limits, a bounded pool, and commands that can be cancelled."""

import asyncio
from collections.abc import Iterable
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import TimeoutError as RedisTimeoutError

from realtime.bus.topology import Credentials, Node, RedisUrlError

Pool = TypeVar("Pool", bound=BlockingConnectionPool)


def connection_options(**options: Any) -> dict[str, Any]:
    """Return what every pool of connections is made with; ``options`` win."""
    defaults = {
        "client_name": "realtime",
        "socket_connect_timeout": 5,
        "socket_timeout": 5,
        # A pooled connection that was idle for so long is tried before it is used.
        "health_check_interval": 15,
        "max_connections": 32,
        # How long a command waits for one of them.
        "timeout": 5,
        # The client library would otherwise repeat commands on its own, publishing ones too.
        "retry": Retry(NoBackoff(), 0),
    }
    return {**defaults, **options}


class Cancellable(AbstractConnection):
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


class TcpConnection(Cancellable, Connection):
    """A connection over TCP."""


class TlsConnection(Cancellable, SSLConnection):
    """A connection over TLS."""


class UnixConnection(Cancellable, UnixDomainSocketConnection):
    """A connection over a Unix socket."""


_CANCELLABLE: dict[type[AbstractConnection], type[AbstractConnection]] = {
    Connection: TcpConnection,
    SSLConnection: TlsConnection,
    UnixDomainSocketConnection: UnixConnection,
}


def single(url: str, **options: Any) -> Redis:
    """Return a client of the server at a URL that redis-py knows.

    Raises:
        RedisUrlError: It is of no known kind.
    """
    try:
        pool = BlockingConnectionPool.from_url(url, **connection_options(**options))
    except ValueError as error:
        raise RedisUrlError(f"REALTIME_REDIS_URL: {error}") from error
    pool.connection_class = _CANCELLABLE[pool.connection_class]
    return Redis.from_pool(checked(pool))


def url_options(query: str, credentials: Credentials, *, is_tls: bool) -> dict[str, Any]:
    """Return the options for connections that a Sentinel or Cluster URL asks for.

    Raises:
        RedisUrlError: An option in the query has a value that it cannot have.
    """
    try:
        options: dict[str, Any] = dict(parse_url(f"redis{'s' * is_tls}://_/?{query}"))
    except ValueError as error:
        raise RedisUrlError(f"REALTIME_REDIS_URL: {error}") from error
    for name in ("host", "connection_class", "db"):
        options.pop(name, None)
    options["username"], options["password"] = credentials.username, credentials.password
    return options


def client_of(node: Node, *, is_tls: bool = False, **options: Any) -> Redis:
    """Return a client of one server."""
    connection_class = TlsConnection if is_tls else TcpConnection
    host, port = node
    pool = BlockingConnectionPool(
        connection_class=connection_class, host=host, port=port, **connection_options(**options)
    )
    return Redis.from_pool(checked(pool))


def checked(pool: Pool) -> Pool:
    """Return ``pool`` if its connections can be made; opens none.

    Raises:
        RedisUrlError: An option is not known, which would else show when the first command is sent.
    """
    try:
        pool.make_connection()  # type: ignore[no-untyped-call]
    except TypeError as error:
        raise RedisUrlError(f"REALTIME_REDIS_URL has an option that is not known: {error}") from error
    return pool
