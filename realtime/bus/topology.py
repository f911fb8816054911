"""What ``REALTIME_REDIS_URL`` says: one server, a master that Sentinels watch, or a Cluster. Pure."""

from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from realtime.errors import RealtimeError

Node: TypeAlias = tuple[str, int]
"""Host and port of a server."""

_SENTINEL_PORT = 26379
_CLUSTER_PORT = 6379
_SENTINEL_SHAPE = "redis-sentinel://[user:password@]host:26379,host2:26379/<service>[/<database>]"
_CLUSTER_SHAPE = "redis-cluster://[user:password@]host:6379,host2:6379"


class RedisUrlError(RealtimeError, ValueError):
    """``REALTIME_REDIS_URL`` cannot be used; the message says what it should be like, and never a password."""

    type = "general_argument_invalid"


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to log in."""

    username: str | None = None
    """None for the server's default user."""
    password: str | None = field(default=None, repr=False)
    """None when none is asked for."""


@dataclass(frozen=True, slots=True)
class SentinelUrl:
    """A master that Sentinels watch and replace."""

    hosts: tuple[Node, ...]
    """The Sentinels; one that answers is enough."""
    service: str
    """What the Sentinels call the master."""
    database: int
    is_tls: bool
    """Whether the Sentinels and the servers speak TLS."""
    credentials: Credentials
    """For the servers."""
    query: str
    """Options of the connections, as redis-py takes them in the query of a URL."""


@dataclass(frozen=True, slots=True)
class ClusterUrl:
    """A Redis Cluster."""

    hosts: tuple[Node, ...]
    """Some of its servers; one that answers is enough to find the others."""
    is_tls: bool
    credentials: Credentials
    query: str
    """Options of the connections, as redis-py takes them in the query of a URL."""


def parse_redis_url(url: str) -> str | SentinelUrl | ClusterUrl:
    """Parse the URL of a Redis; return it as it is when it names a single server.

    Credentials are percent-decoded. TLS is ``rediss-sentinel://`` and ``rediss-cluster://``.

    Raises:
        RedisUrlError: It is a Sentinel or Cluster URL of another shape.
    """
    scheme, _, rest = url.partition("://")
    if scheme in {"redis-sentinel", "rediss-sentinel"}:
        return _sentinel(scheme, rest)
    if scheme in {"redis-cluster", "rediss-cluster"}:
        return _cluster(scheme, rest)
    return url


def _sentinel(scheme: str, rest: str) -> SentinelUrl:
    location, path, query = _split(rest)
    service, _, database = path.partition("/")
    if not service:
        raise RedisUrlError(
            f"REALTIME_REDIS_URL does not name the service that the Sentinels watch: {_SENTINEL_SHAPE}"
        )
    if database and not (database.isascii() and database.isdecimal()):
        raise RedisUrlError(f"The database in REALTIME_REDIS_URL is not a number: {_SENTINEL_SHAPE}")
    userinfo, hosts = _userinfo(location)
    return SentinelUrl(
        hosts=_hosts(hosts, _SENTINEL_PORT, _SENTINEL_SHAPE),
        service=unquote(service),
        database=int(database or 0),
        is_tls=scheme.startswith("rediss"),
        credentials=userinfo,
        query=query,
    )


def _cluster(scheme: str, rest: str) -> ClusterUrl:
    location, path, query = _split(rest)
    if path not in {"", "0"}:
        raise RedisUrlError(
            f"A Redis Cluster has one database: leave the path in REALTIME_REDIS_URL away: {_CLUSTER_SHAPE}"
        )
    userinfo, hosts = _userinfo(location)
    return ClusterUrl(
        hosts=_hosts(hosts, _CLUSTER_PORT, _CLUSTER_SHAPE),
        is_tls=scheme.startswith("rediss"),
        credentials=userinfo,
        query=query,
    )


def _split(rest: str) -> tuple[str, str, str]:
    """Return user and hosts, path and query."""
    before, _, query = rest.partition("?")
    location, _, path = before.partition("/")
    return location, path.strip("/"), query


def _userinfo(location: str) -> tuple[Credentials, str]:
    userinfo, _, hosts = location.rpartition("@")
    username, has_password, password = userinfo.partition(":")
    return Credentials(unquote(username) or None, unquote(password) if has_password else None), hosts


def _hosts(text: str, default_port: int, shape: str) -> tuple[Node, ...]:
    hosts: list[Node] = []
    for part in text.split(","):
        try:
            location = urlsplit(f"//{part}")
            host, port = location.hostname, location.port
        except ValueError:
            host, port = None, None
        if not host or port == 0:
            raise RedisUrlError(f"REALTIME_REDIS_URL names no host, or one with a wrong port: {shape}")
        hosts.append((host, port or default_port))
    return tuple(hosts)
