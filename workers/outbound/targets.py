"""Which URLs may be the target of a request: parsed strictly, so that nothing is hidden in them. No I/O.

A host is read as the client that connects to it reads it (:class:`httpx.URL`), and what could be read in more than one
way is refused: user information, encoded characters, IPv4 addresses in any form but four decimal numbers. Source: wire
specification 11.1 and 11.5.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

import httpx

MAX_URL_CHARS = 2_048

_URL = re.compile(
    r"https?://(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s/?#@:%\\\[\]]+)(?::(?P<port>[0-9]{1,5}))?(?:[/?#]\S*)?",
    re.IGNORECASE,
)
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
# As the URL standard has it: such a name is an IPv4 address, in whatever form, or nothing.
_ENDS_IN_A_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")

_LOCAL_SUFFIXES = frozenset({
    "alt", "arpa", "corp", "example", "home", "internal", "intranet", "invalid", "lan", "local", "localdomain",
    "localhost", "onion", "private", "test",
})  # fmt: skip
"""Last parts of names that no registry gives out: RFC 6761, 7686, 8375, 9476, and ICANN's list of collisions."""

_WELL_KNOWN_PORTS = range(1, 1_024)
_WEB_PORTS = (80, 443)


class TargetError(ValueError):
    """A URL may not be the target of a request. The message says why, for whoever gave it."""


class Target(NamedTuple):
    """Where a request goes to."""

    host: str
    """A name in lower-case ASCII without a dot at the end, or an address without brackets."""
    port: int
    address: IPv4Address | IPv6Address | None
    """The host if it is an address."""

    @property
    def is_local_name(self) -> bool:
        """Whether the host is a name that means something in this network alone, such as ``localhost`` or ``db``."""
        if self.address is not None:
            return False
        labels = self.host.split(".")
        return len(labels) == 1 or labels[-1] in _LOCAL_SUFFIXES


def parse_target(url: str) -> Target:
    """Return where a request to ``url`` goes.

    Raises:
        TargetError: it is no URL of HTTP, is longer than :data:`MAX_URL_CHARS`, or says where it goes in a way that
            could be misread.
    """
    if len(url) > MAX_URL_CHARS:
        raise TargetError(f"URL must be at most {MAX_URL_CHARS} chars")
    match = _URL.fullmatch(url)
    if match is None or not url.isprintable():
        raise TargetError("URL must be one of http or https, with a host, and without user information")
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        raise TargetError("URL must have a valid host") from None
    port = int(match["port"] or (443 if parsed.scheme == "https" else 80))
    if not 1 <= port <= 65_535:
        raise TargetError("URL must have a port between 1 and 65535")
    host = parsed.raw_host.decode("ascii").removesuffix(".")
    return Target(host, port, _address_of(host))


def check_port(target: Target) -> None:
    """Refuse the ports of well-known services other than the web, which could be made to misread a request.

    Raises:
        TargetError: it is such a port.
    """
    if target.port in _WELL_KNOWN_PORTS and target.port not in _WEB_PORTS:
        raise TargetError("URL must have port 80, 443, or one of 1024 and above")


def _address_of(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that ``host`` is; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    labels = host.split(".")
    if _ENDS_IN_A_NUMBER.fullmatch(host) or len(host) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise TargetError("URL must have a valid host")
    return None
