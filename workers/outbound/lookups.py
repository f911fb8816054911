"""Resolving names in threads of their own, a bounded number at a time.

The system's resolver waits for name servers that do not answer for many seconds, and a thread that does so cannot be
stopped: whoever names hosts decides how long. So these threads serve nothing else, and what finds all of them taken for
too long is refused. That must not happen to names that can be resolved because of others that cannot:

- names that were resolved promptly lately have threads of their own, and their addresses are used again for a moment;
- names of domains that were slow lately share a few threads, and leave the others alone;
- of all of these threads, names of one domain take an eighth at most, and a quarter of the places that wait for them.
"""

import asyncio
import functools
import socket
import threading
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from workers.outbound.lanes import Lane, LaneFullError
from workers.outbound.names import Names, domain_of

Addresses = Sequence[IPv4Address | IPv6Address]

_SUSPECTS = 8
"""One thread for so many of the others looks up names that are likely to take long."""


class LookUpsBusyError(OSError):
    """As many names are being looked up as may be; it helps to come again."""


class LookUps:
    """A few threads that ask the system's resolver. Called as a :data:`~workers.outbound.guard.LookUp`.

    Args:
        threads: how many names are looked up at once; as many again of those that were resolved lately.
        max_waiting: how many more may wait for that.
        thread_name: what the threads are called.
        clock: seconds, from any start.
    """

    def __init__(
        self,
        *,
        threads: int,
        max_waiting: int,
        thread_name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lanes = {
            "new": Lane(threads, max_waiting, thread_name),
            "proven": Lane(threads, max_waiting, f"{thread_name}-proven"),
            "suspect": Lane(max(1, threads // _SUSPECTS), max_waiting, f"{thread_name}-suspect"),
        }
        self._clock = clock
        self._names = Names(clock)
        # The threads note what they found, even if whoever asked has given up.
        self._lock = threading.Lock()

    async def __call__(self, host: str, port: int) -> Addresses:
        """Return the addresses of ``host``, each once, in the order that the system prefers.

        Raises:
            LookUpsBusyError: too many names are being looked up, in all or of the same domain.
            OSError: it has none, or cannot be resolved.
        """
        with self._lock:
            known = self._names.addresses(host)
            lane = self._lanes[self._names.kind(host)]
        if known is not None:
            return known
        try:
            asked = lane.submit(domain_of(host), functools.partial(self._look_up, host, port))
        except LaneFullError as error:
            raise LookUpsBusyError("Too many names are being looked up.") from error
        return await asyncio.wrap_future(asked)

    def _look_up(self, host: str, port: int) -> Addresses:
        """Ask the resolver, in a thread, and remember what it said."""
        started = self._clock()
        addresses: Addresses = ()
        try:
            addresses = _resolve(host, port)
        finally:
            with self._lock:
                self._names.note(host, addresses, self._clock() - started)
        return addresses


def _resolve(host: str, port: int) -> Addresses:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        # A part of the name that is empty or too long.
        raise OSError("The name cannot be resolved.") from error
    if not found:
        raise OSError("The name has no addresses.")
    return list(dict.fromkeys(ip_address(str(sockaddr[0])) for *_, sockaddr in found))
