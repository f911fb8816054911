"""What this server connects to when strangers say where, and the HTTP transport that holds it to that.

A name is resolved here, every address it has is judged, and one of those very addresses is connected to: whoever
answers for the name cannot give another one in between. The name stays what the request is for, in the header ``Host``
and in TLS. Source: wire specification 11.5.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import httpcore
import httpx

from realtime.settings import Settings
from workers.outbound.addresses import is_public
from workers.outbound.lookups import LookUps
from workers.outbound.streams import BoundedStream
from workers.outbound.targets import Target, TargetError, check_port, parse_target

RESOLVE_TIMEOUT_S = 3.0
"""How long a name may take to resolve when a target is checked."""

LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20)
"""How many connections a transport has at most, and keeps open, unless told otherwise."""

LookUp = Callable[[str, int], Awaitable[Sequence[IPv4Address | IPv6Address]]]
"""Resolves a host name for a port, to at least one address; raises :class:`OSError` if it cannot."""

# One for the process. Whatever anybody may name has threads of its own (workers.api.avatars.fetching).
_LOOK_UPS = LookUps(threads=32, max_waiting=1_024, thread_name="realtime-names")


class Guard:
    """Says what may be connected to. Immutable.

    Args:
        allow_private: whether everything may be.
        allowed_networks: networks in CIDR form that may be, though they are not public.
        look_up: resolves a name; None for the system's resolver.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        allowed_networks: Iterable[str] = (),
        look_up: LookUp | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._look_up = look_up or _LOOK_UPS
        self._networks = tuple(ip_network(network, strict=False) for network in allowed_networks)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Guard":
        """Return the guard that the settings ask for."""
        return cls(
            allow_private=settings.webhooks_allow_private, allowed_networks=settings.webhooks_allowed_networks
        )

    def allows(self, address: IPv4Address | IPv6Address) -> bool:
        """Tell whether ``address`` may be connected to."""
        return (
            self._allow_private
            or is_public(address)
            or any(address in network for network in self._networks if network.version == address.version)
        )

    def judge(self, target: Target) -> None:
        """Judge what is known of a target without resolving its name: its port, and the address if it is one.

        Raises:
            TargetError: nothing may be sent to it.
        """
        if self._allow_private:
            return
        check_port(target)
        if target.address is not None and not self.allows(target.address):
            raise TargetError("URL must have a public host")

    async def check(self, url: str, *, must_resolve: bool = False) -> Target:
        """Judge a target that somebody gives, and return it.

        A public name that cannot be resolved now passes: it may be made tomorrow, and is judged again whenever it is
        connected to.

        Args:
            url: the target.
            must_resolve: whether such a name is an error, as it is for who would connect at once: nobody then waits
                for its name servers twice.

        Raises:
            TargetError: nothing may be sent to it.
            OSError: the name must be resolved, and cannot be in good time (:data:`RESOLVE_TIMEOUT_S`).
        """
        target = parse_target(url)
        self.judge(target)
        if self._allow_private:
            return target
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                await self.resolve(target.host, target.port)
        except (OSError, TimeoutError):
            if target.is_local_name:
                raise TargetError("URL must have a public host") from None
            if must_resolve:
                raise
        return target

    async def resolve(self, host: str, port: int) -> list[str]:
        """Return the addresses of ``host``, all of which may be connected to.

        Raises:
            TargetError: at least one of them may not be.
            OSError: the name cannot be resolved.
        """
        try:
            addresses: list[IPv4Address | IPv6Address] = [ip_address(host)]
        except ValueError:
            addresses = list(await self._look_up(host, port))
        if not all(map(self.allows, addresses)):
            # Which one stays untold, or names of this network could be looked up by whoever gives URLs.
            raise TargetError("URL must have a public host")
        return [str(address) for address in addresses]


class PublicOnlyTransport(httpx.AsyncHTTPTransport):
    """Sends requests only to where ``guard`` lets them go: the ``transport`` of an :class:`httpx.AsyncClient`.

    What is refused raises :class:`httpx.ConnectError`, also where a redirect leads. Proxies of the environment are not
    used, since they would resolve the name again.

    Args:
        guard: what may be connected to.
        verify: whether certificates are verified, or the TLS context to use.
        limits: of the pool of connections.
    """

    def __init__(
        self, guard: Guard, *, verify: bool | ssl.SSLContext = True, limits: httpx.Limits = LIMITS
    ) -> None:
        context = httpx.create_ssl_context(verify=verify, trust_env=False)
        super().__init__(verify=context, trust_env=False)
        # The pool that the parent made has no connections yet, and no argument of the parent reaches its backend.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_GuardedBackend(guard),
        )


class _GuardedBackend(httpcore.AnyIOBackend):
    """Connects by TCP to addresses that were judged, with bounds to what comes before a response."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the parent's
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._guard.resolve(host, port)
                stream = await self._connect_any(addresses, port, timeout, local_address, socket_options)
                return BoundedStream(stream)
        except (TargetError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise httpcore.ConnectTimeout(f"{host} does not answer") from error
            raise httpcore.ConnectError(str(error)) from error

    async def _connect_any(
        self, addresses: Sequence[str], port: int, timeout_s: float | None, *options: Any
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first that answers; each has its share of the time, so that one that is dead leaves some."""
        share = None if timeout_s is None else timeout_s / len(addresses)
        for address in addresses[:-1]:
            try:
                return await super().connect_tcp(address, port, share, *options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await super().connect_tcp(addresses[-1], port, share, *options)

    async def connect_unix_socket(self, *_args: Any, **_kwargs: Any) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError("Sockets of this machine may not be connected to.")
