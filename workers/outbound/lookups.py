"""Resolving names in threads of their own, a bounded number at a time.

The system's resolver waits for name servers that do not answer for many seconds, and a thread that does so cannot be
stopped: whoever names hosts decides how long. So these threads serve nothing else, and what finds all of them taken for
too long is refused.
"""

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any


class LookUpsBusyError(OSError):
    """As many names are being looked up as may be; it helps to come again."""


class LookUps:
    """A few threads that ask the system's resolver. Called as a :data:`~workers.outbound.guard.LookUp`.

    Args:
        threads: how many names are looked up at once.
        max_waiting: how many more may wait for that.
        thread_name: what the threads are called.
    """

    def __init__(self, *, threads: int, max_waiting: int, thread_name: str) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=thread_name)
        self._most = threads + max_waiting
        # What threads are at, too, after whoever asked has given up.
        self._asked: set[Future[Any]] = set()

    async def __call__(self, host: str, port: int) -> Sequence[IPv4Address | IPv6Address]:
        """Return the addresses of ``host``, each once, in the order that the system prefers.

        Raises:
            LookUpsBusyError: too many names are being looked up.
            OSError: it has none, or cannot be resolved.
        """
        if len(self._asked) >= self._most:
            raise LookUpsBusyError("Too many names are being looked up.")
        asked = self._threads.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        self._asked.add(asked)
        asked.add_done_callback(self._asked.discard)
        try:
            found = await asyncio.wrap_future(asked)
        except UnicodeError as error:
            # A part of the name that is empty or too long.
            raise OSError("The name cannot be resolved.") from error
        addresses = [ip_address(str(sockaddr[0])) for *_, sockaddr in found]
        if not addresses:
            raise OSError("The name has no addresses.")
        return list(dict.fromkeys(addresses))
