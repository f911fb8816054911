"""A client of the master that Sentinels watch, whichever server that is at the moment."""

import asyncio
import contextlib
from typing import Any, NamedTuple, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.utils import str_if_bytes

from realtime.bus.connections import (
    Cancellable,
    TcpConnection,
    TlsConnection,
    checked,
    connection_options,
    url_options,
)
from realtime.bus.topology import Node, RedisUrlError, SentinelUrl

_SENTINEL_TIMEOUT_S = 0.5
"""How long one Sentinel may take to answer before the others alone are believed."""
_ASK_INTERVAL_S = 1.0
"""How old the Sentinels' word may be when a connection is used."""


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
        """Log in, and ask the server whether it is a master."""
        await super().on_connect_check_health(check_health)
        await self.send_command("ROLE", check_health=False)
        _check_role(await self.read_response(disable_decoding=True))


class _TlsMasterConnection(_MasterConnection, SentinelManagedSSLConnection):
    """The same over TLS."""


class _MasterPool(SentinelConnectionPool, BlockingConnectionPool):
    """Connections to the master; all are closed when it turns out that it is another server.

    A master that was replaced while it hung goes on as if nothing had happened until the Sentinels reach it: what is
    written there is lost. So the Sentinels are asked again before a connection is used that has been open for long.
    """

    # When the Sentinels are to be asked again, in event loop time.
    _ask_at = 0.0

    async def get_connection(self, *args: Any, **options: Any) -> Any:
        """Return a connection to the server that the Sentinels have lately called the master."""
        now = asyncio.get_running_loop().time()
        if now >= self._ask_at:
            self._ask_at = now + _ASK_INTERVAL_S
            # Without their word, the connections that there are go on.
            with contextlib.suppress(RedisError):
                await self.get_master_address()  # type: ignore[no-untyped-call]
        return await super().get_connection(*args, **options)  # type: ignore[no-untyped-call]


class _MasterClient(Redis):
    """Closes what it asks the Sentinels by too."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        pool: Any = self.connection_pool
        await pool.sentinel_manager.aclose()


class _Watchers(Sentinel):
    """Sentinels, of which the one that knows best is believed.

    After a failover they learn of the new master one after another; those that do not know yet would lead back to the
    old one.
    """

    async def aclose(self) -> None:
        """Close the connections to the Sentinels; not every release of the library that is allowed can do that."""
        for sentinel in self.sentinels:
            await sentinel.aclose()

    async def discover_master(self, service_name: str) -> Node:
        """Return where the master is, by the Sentinel with the newest configuration.

        Raises:
            MasterNotFoundError: No Sentinel answers, or none knows the service, or the master is down.
        """
        answers = await asyncio.gather(
            *(_ask(sentinel, service_name) for sentinel in self.sentinels), return_exceptions=True
        )
        known = [answer for answer in answers if not isinstance(answer, BaseException)]
        if not known:
            raise MasterNotFoundError(f"No Sentinel knows a master {service_name!r}: {answers[0]}")
        newest = max(answer.epoch for answer in known)
        for answer in known:
            if answer.epoch == newest and answer.is_up:
                return answer.master
        raise MasterNotFoundError(
            f"The master {service_name!r} is down, and the Sentinels have no other yet."
        )


class _Answer(NamedTuple):
    epoch: int
    master: Node
    is_up: bool


async def _ask(sentinel: Redis, service: str) -> _Answer:
    state: Any = await sentinel.sentinel_master(service)
    # This is the new master from the moment of its promotion on; the state is the old one's until all have followed.
    host, port = cast("Any", await sentinel.sentinel_get_master_addr_by_name(service))
    master = str_if_bytes(host), int(port)
    is_down = state["is_sdown"] or state["is_odown"]
    return _Answer(
        int(state["config-epoch"]), master, not is_down or master != (state["ip"], int(state["port"]))
    )


def watchers(url: SentinelUrl) -> Sentinel:
    """Return what asks the Sentinels of a URL for the master; close it.

    Raises:
        RedisUrlError: An option in the URL is not known.
    """
    options = url_options(url.query, url.credentials, is_tls=url.is_tls)
    # Sentinels have users of their own, mostly none.
    own = {name: value for name, value in options.items() if name not in {"username", "password"}}
    limits = {"socket_timeout": _SENTINEL_TIMEOUT_S, "socket_connect_timeout": _SENTINEL_TIMEOUT_S}
    retry = connection_options()["retry"]
    kwargs = {**own, **limits, "retry": retry, "ssl": url.is_tls}
    try:
        sentinel = _Watchers(list(url.hosts), sentinel_kwargs=kwargs)  # type: ignore[no-untyped-call]
    except TypeError as error:
        raise RedisUrlError(f"REALTIME_REDIS_URL has an option that is not known: {error}") from error
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
    return _MasterClient.from_pool(checked(pool))
