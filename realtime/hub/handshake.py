"""What a client asks for by opening a connection, read from the request's target and headers.

Nothing is verified here: :func:`parse_handshake` only collects what was presented, in the order of
precedence, and :func:`build_slots` turns the channels and queries of the URL into subscriptions. The module
is pure. Sources: wire specification 2.1, 2.2, 2.4 and 2.7.
"""

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

import orjson

from realtime.errors import ClientError, ErrorKind
from realtime.hub.query_string import QueryValue, parse_query_string
from realtime.identity.model import CONSOLE
from realtime.messages import DEFAULT_LIMITS, MessageLimits


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client presented to say who it is; a text is empty when that was not presented."""

    sessions: tuple[str, ...] = field(default=(), repr=False)
    """Encoded session values, the first usable one counts: the cookie, its ``_legacy`` form, the
    ``x-appwrite-session`` header, the ``x-fallback-cookies`` header (wire specification 2.4)."""
    jwt: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    """The secret of an API key."""
    key_user: str = ""
    """The user that an account key belongs to; empty for a project's key."""
    dev_key: str = field(default="", repr=False)
    impersonate_id: str = ""
    impersonate_email: str = ""
    """In lower case."""
    impersonate_phone: str = ""


@dataclass(frozen=True, slots=True)
class Slot:
    """One subscription of the URL: its channels share its queries (wire specification 2.7)."""

    key: int | str
    """The key that the client chose, under which ``connected`` names the subscription."""
    channels: list[str]
    queries: list[object]
    """Query texts, as the client sent them; empty lets every event pass."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """Everything a client said by opening its connection."""

    path: str
    """The target's path, as it was sent."""
    project_id: str
    """``console`` if the request names no project."""
    admin: bool
    """Whether the session is one of the console (mode ``admin``)."""
    credentials: Credentials
    channels: list[str]
    """Channel names as requested, before their conversion (wire specification 5.2)."""
    params: Mapping[str, QueryValue]
    """All parameters of the URL; for :func:`build_slots`."""
    origin: str = ""
    sdk_name: str = ""


def parse_handshake(target: str, headers: Iterable[tuple[str, str]]) -> Handshake:
    """Read a request to open a connection.

    Args:
        target: Path and query string, as in the request line.
        headers: Names in any case, and values. The last of several headers of one name counts; those of
            ``cookie`` are joined.

    Raises:
        ClientError: ``URL_LIMIT``, for too many parameters, or channels that are not a list of names.
    """
    path, _, query = target.partition("?")
    request = _Request(headers, parse_query_string(query))
    project_id = request.value("x-appwrite-project", "project") or CONSOLE
    mode = request.params.get("mode")
    admin = (mode if isinstance(mode, str) else request.headers.get("x-appwrite-mode", "")) == "admin"
    return Handshake(
        path=path,
        project_id=project_id,
        admin=admin,
        credentials=_credentials(request, CONSOLE if admin else project_id),
        channels=_channels(request.params.get("channels")),
        params=request.params,
        origin=request.headers.get("origin", ""),
        sdk_name=request.headers.get("x-sdk-name", ""),
    )


def read_credentials(headers: Iterable[tuple[str, str]], session_project: str) -> Credentials:
    """Return what the headers of a request present; of a session only one of ``session_project``.

    Args:
        headers: Names in any case, and values.
        session_project: Whose users' sessions count: the request's project, or ``console``.
    """
    return _credentials(_Request(headers, {}), session_project)


def build_slots(
    channels: Sequence[str],
    params: Mapping[str, QueryValue],
    *,
    limits: MessageLimits = DEFAULT_LIMITS,
) -> list[Slot]:
    """Group the channels of a URL into subscriptions (wire specification 2.7).

    Args:
        channels: The converted channel names.
        params: The parameters of the URL, which hold each channel's queries under its name with underscores
            for dots.
        limits: As for a ``subscribe`` message.

    Returns:
        The slots in the order in which channels first joined them. The first channel that brings a slot
        decides its queries; channels without a parameter join slot 0.

    Raises:
        ClientError: ``URL_LIMIT``, for more slots, channels or queries than allowed.
    """
    slots: dict[int | str, Slot] = {}
    for channel in channels:
        for key, queries in _channel_slots(channel, params):
            slots.setdefault(key, Slot(key, [], queries)).channels.append(channel)
    _check_limit(len(slots), limits.max_items, "subscriptions are allowed in the URL")
    for slot in slots.values():
        _check_limit(len(slot.channels), limits.max_channels, "channels are allowed in a subscription")
        _check_limit(len(slot.queries), limits.max_queries, "queries are allowed in a subscription")
    return list(slots.values())


def client_ip(
    peer: str,
    headers: Iterable[tuple[str, str]],
    *,
    header_names: Sequence[str],
    trusted: Callable[[str], bool],
) -> str:
    """Return the address of the client behind any proxies (wire specification 2.2, step 5).

    A proxy appends the address that it was called from. So the addresses are followed from the last to the
    first for as long as they are trusted proxies themselves; whatever stands before the first other one, a
    client may have made up.

    Args:
        peer: The address of the socket's other end; returned if it is no trusted proxy.
        headers: Names in any case, and values.
        header_names: Headers that proxies set; the first one that holds an address counts.
        trusted: Tells whether an address is that of a trusted proxy.
    """
    if not trusted(peer):
        return peer
    received = [(name.lower(), value) for name, value in headers]
    for header_name in header_names:
        hops = [hop for name, value in received if name == header_name.lower() for hop in value.split(",")]
        client = ""
        for hop in reversed(hops):
            address = _address(hop.strip())
            client = address or client
            if not address or not trusted(address):
                break
        if client:
            return client
    return peer


class _Request:
    """Headers by lower-case name, and the parameters of the URL."""

    __slots__ = ("headers", "params")

    def __init__(self, headers: Iterable[tuple[str, str]], params: dict[str, QueryValue]) -> None:
        self.headers: dict[str, str] = {}
        self.params = params
        for name, value in headers:
            key = name.lower()
            is_repeated_cookie = key == "cookie" and key in self.headers
            self.headers[key] = f"{self.headers[key]}; {value}" if is_repeated_cookie else value

    def value(self, header: str, *parameters: str) -> str:
        """Return the header, or else the first of the parameters that is a text, or else nothing."""
        candidates = [self.headers.get(header), *(self.params.get(name) for name in parameters)]
        return next((value for value in candidates if value and isinstance(value, str)), "")


def _credentials(request: _Request, session_project: str) -> Credentials:
    """Collect what the client presented; its session belongs to ``session_project``."""
    return Credentials(
        sessions=tuple(_sessions(request.headers, f"a_session_{session_project}")),
        jwt=request.value("x-appwrite-jwt", "jwt"),
        key=request.headers.get("x-appwrite-key", ""),
        key_user=request.headers.get("x-appwrite-user", ""),
        dev_key=request.value("x-appwrite-dev-key", "devKey"),
        impersonate_id=request.value(
            "x-appwrite-impersonate-user-id", "impersonateuserid", "impersonateUserId"
        ),
        impersonate_email=request.value(
            "x-appwrite-impersonate-user-email", "impersonateemail", "impersonateEmail"
        ).lower(),
        impersonate_phone=request.value(
            "x-appwrite-impersonate-user-phone", "impersonatephone", "impersonatePhone"
        ),
    )


def _sessions(headers: Mapping[str, str], cookie_name: str) -> list[str]:
    """Return the session values presented, best first (wire specification 2.4)."""
    cookies = _cookies(headers.get("cookie", ""))
    candidates: list[object] = [
        cookies.get(cookie_name),
        cookies.get(f"{cookie_name}_legacy"),
        headers.get("x-appwrite-session"),
        _fallback_cookies(headers.get("x-fallback-cookies", "")).get(cookie_name),
    ]
    return [value for value in candidates if value and isinstance(value, str)]


def _cookies(header: str) -> dict[str, str]:
    """Read a ``Cookie`` header; of two cookies with one name the first counts, as the more specific one."""
    cookies: dict[str, str] = {}
    for pair in header.split(";"):
        name, _, value = pair.partition("=")
        cookies.setdefault(name.strip(), unquote(value.strip().strip('"')))
    return cookies


def _fallback_cookies(header: str) -> dict[str, object]:
    """Read ``x-fallback-cookies``, a JSON object of the cookies that a browser would not keep."""
    if not header:
        return {}
    try:
        cookies = orjson.loads(header)
    except orjson.JSONDecodeError:
        return {}
    return cookies if isinstance(cookies, dict) else {}


def _channels(value: QueryValue | None) -> list[str]:
    """Return the requested channels; a single name counts as a list of one."""
    if value is None:
        return []
    names = [value] if isinstance(value, str) else list(value.values())
    channels = [name for name in names if isinstance(name, str)]
    if len(channels) != len(names):
        raise ClientError(ErrorKind.URL_LIMIT, reason="Invalid channels.")
    return channels


def _channel_slots(channel: str, params: Mapping[str, QueryValue]) -> list[tuple[int | str, list[object]]]:
    """Return the slots that a channel joins, each with the queries that it brings."""
    value = params.get(channel.replace(".", "_"))
    # `project=P` names the project; only an array can be about the channel of that name.
    if value is None or (channel == "project" and isinstance(value, str)):
        return [(0, [])]
    if isinstance(value, str):
        return [(0, [value])]
    return [(key, list(slot.values()) if isinstance(slot, dict) else [slot]) for key, slot in value.items()]


def _address(text: str) -> str:
    """Return an IP address in its usual form, without port and brackets; empty if ``text`` is none."""
    host = text
    if text.startswith("["):
        host = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        host = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(address)


def _check_limit(count: int, limit: int, what: str) -> None:
    if limit and count > limit:
        raise ClientError(ErrorKind.URL_LIMIT, reason=f"At most {limit} {what}.")
