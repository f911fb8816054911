"""A client of the master that Sentinels watch, whichever server that is at the moment."""

from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from realtime.bus.connections import (
    Cancellable,
    TcpConnection,
    TlsConnection,
    connection_options,
    url_options,
)
from realtime.bus.topology import Node, SentinelUrl

_SENTINEL_TIMEOUT_S = 1.0
"""How long one Sentinel may take to answer before the next one is asked."""


class NotMasterError(RedisConnectionError):
    """The server is no master, or not any longer: it must be neither written to nor listened to."""


async def require_master(redis: Redis) -> None:
    """Ask a server whether it is a master.

    Raises:
        NotMasterError: It is none.
    """
    role: Any = await redis.execute_command("ROLE")  # type: ignore[no-untyped-call]
    _check_role(role)


def _check_role(answer: Any) -> None:
    if bytes(answer[0]) != b"master":
        raise NotMasterError("The server is a replica: another one has become the master.")


class _MasterConnection(Cancellable, SentinelManagedConnection):
    """A connection to the master: a server that was just demoted, or not promoted yet, is refused."""

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health)
        await self.send_command("ROLE", check_health=False)
        _check_role(await self.read_response(disable_decoding=True))


class _TlsMasterConnection(_MasterConnection, SentinelManagedSSLConnection):
    """The same over TLS."""


class _MasterPool(SentinelConnectionPool, BlockingConnectionPool):
    """Connections to the master; all are closed when it turns out that it is another server."""


class _MasterClient(Redis):
    """Closes what it asks the Sentinels by too."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        pool: Any = self.connection_pool
        await pool.sentinel_manager.aclose()


def watchers(url: SentinelUrl) -> Sentinel:
    """Return what asks the Sentinels of a URL for the master; close it."""
    options = url_options(url.query, url.credentials, is_tls=url.is_tls)
    # Sentinels have users of their own, mostly none.
    own = {name: value for name, value in options.items() if name not in {"username", "password"}}
    limits = {"socket_timeout": _SENTINEL_TIMEOUT_S, "socket_connect_timeout": _SENTINEL_TIMEOUT_S}
    retry = connection_options()["retry"]
    kwargs = {**own, **limits, "retry": retry, "ssl": url.is_tls}
    sentinel = Sentinel(list(url.hosts), sentinel_kwargs=kwargs)  # type: ignore[no-untyped-call]
    for client in sentinel.sentinels:
        client.connection_pool.connection_class = TlsConnection if url.is_tls else TcpConnection
    return sentinel


async def find_master(sentinel: Sentinel, service: str) -> Node:
    """Return where the master is.

    Raises:
        redis.RedisError: No Sentinel answers that has one.
    """
    host, port = await sentinel.discover_master(service)
    return str(host), int(port)


def master(url: SentinelUrl, **options: Any) -> Redis:
    """Return a client of the master. Nothing is sent yet."""
    options = {
        **url_options(url.query, url.credentials, is_tls=url.is_tls),
        "db": url.database,
        **options,
    }
    pool = _MasterPool(  # type: ignore[no-untyped-call]
        url.service,
        watchers(url),
        connection_class=_TlsMasterConnection if url.is_tls else _MasterConnection,
        **connection_options(**options),
    )
    return _MasterClient.from_pool(pool)
