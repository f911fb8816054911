"""The messages that a client sends: parsed, checked, and handed on as typed values.

A message is judged in a fixed order: JSON, then ``type``, then the members of ``data``; the first violation
is the one that the client is told, and nothing of the message takes effect. Nothing here depends on the
connection, so its rate limit, project and identity are checked by the hub. The module is pure. Sources:
wire specification 4, 13.4 and 16.4.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import msgspec
import orjson

from realtime.errors import ClientError, ErrorKind, InvalidPermissionError, InvalidQueryError
from realtime.permissions import Permission
from realtime.queries import Filter, compile_filter, parse_queries, serialize

_MAX_DEPTH = 128
"""Nesting of a whole message; what is accepted, as presence metadata, must be possible to send on."""
_MAX_PERMISSIONS = 100
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,35}")
_POSITION = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")


class MessageLimits(NamedTuple):
    """How much one message may ask for; 0 stands for no limit."""

    max_items: int = 100
    """Items in a ``subscribe`` message."""
    max_channels: int = 100
    """Channels in an item."""
    max_queries: int = 100
    """Queries in an item, nested ones included."""
    max_query_depth: int = 10
    """Nesting of ``and`` and ``or`` in a query."""


DEFAULT_LIMITS = MessageLimits()
"""The limits of a hub that was told nothing else."""


class Ping(msgspec.Struct, frozen=True):
    """A sign of life, answered with ``pong``. It needs no project."""


class Authentication(msgspec.Struct, frozen=True):
    """A request to continue as somebody else (wire specification 4.2). Exactly one member is not empty."""

    session: str = ""
    """An encoded session value, as in the session cookie; up to 2048 characters."""
    jwt: str = ""
    """A JSON web token; up to 4096 characters."""
    key: str = ""
    """The secret of an API key; up to 4096 characters."""


class SubscribeItem(msgspec.Struct, frozen=True):
    """One subscription to make or to change."""

    subscription_id: str | None
    """The client's own ID, possibly the literal ``unique()``; None asks the server to make one."""
    channels: list[str]
    """Channel names as requested, before their conversion (wire specification 5.2)."""
    filter: Filter | None
    """What an event's payload must match; None lets every event pass."""
    since: str | None = None
    """The position in the project's log after which events are to be replayed; None for live events only."""
    queries: tuple[str, ...] = ()
    """The queries in the form they were understood, for the response (wire specification 3.4)."""


class Subscribe(msgspec.Struct, frozen=True):
    """A batch of subscriptions, registered together or not at all (wire specification 4.3)."""

    items: tuple[SubscribeItem, ...]


class Unsubscribe(msgspec.Struct, frozen=True):
    """Subscriptions to end (wire specification 4.4); unknown and repeated IDs are no error."""

    ids: tuple[str, ...]


class Presence(msgspec.Struct, frozen=True):
    """What somebody wants others to see of them while they are connected (wire specification 13.4)."""

    status: str
    """1 to 2048 characters."""
    presence_id: str = "unique()"
    """An ID of 1 to 36 characters; ``unique()`` asks the server to make one."""
    metadata: Any = None
    """Any JSON value; None when there was none."""
    permissions: tuple[str, ...] | None = None
    """Up to 100 well-formed permissions; None asks for the default ones."""


ClientMessage: TypeAlias = Ping | Authentication | Subscribe | Unsubscribe | Presence
"""Any message that a client may send."""


def parse_message(text: bytes | str, *, limits: MessageLimits = DEFAULT_LIMITS) -> ClientMessage:
    """Parse one text frame of a client.

    Args:
        text: The content of the frame; bytes are read as UTF-8.
        limits: How much a ``subscribe`` message may ask for.

    Raises:
        ClientError: The message breaks a rule. The kinds, in the order in which they are looked for, are
            ``MESSAGE_FORMAT``, ``MESSAGE_TYPE``, ``PARAMETER_MISSING``, ``PARAMETER_INVALID`` or
            ``LIMIT_EXCEEDED``, and ``QUERY_INVALID``; all of them leave the connection open.
    """
    message = _decode(text)
    message_type = message.get("type")
    parse = _PARSERS.get(message_type) if isinstance(message_type, str) else None
    if parse is None:
        raise ClientError(ErrorKind.MESSAGE_TYPE)
    return parse(message.get("data"), limits)


def _decode(text: bytes | str) -> dict[str, Any]:
    """Return the JSON object in ``text``, which has a ``type`` or ``data`` (wire specification 4.1)."""
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ClientError(ErrorKind.MESSAGE_FORMAT) from None
    if not isinstance(message, dict) or ("type" not in message and "data" not in message):
        raise ClientError(ErrorKind.MESSAGE_FORMAT)
    if _is_deeper(message, _MAX_DEPTH):
        raise ClientError(ErrorKind.MESSAGE_FORMAT)
    return message


def _is_deeper(value: dict[str, Any] | list[Any], levels: int) -> bool:
    """Tell whether objects and lists are nested in more than ``levels`` levels, ``value`` being the first."""
    level = [value]
    for _ in range(levels):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _parse_ping(_data: object, _limits: MessageLimits) -> Ping:
    return Ping()


def _parse_authentication(data: object, _limits: MessageLimits) -> Authentication:
    members = _members(data)
    # A session outranks the other two: they are additions, and members that a client of the original
    # protocol does not know of are ignored there.
    if members.get("session") is None:
        if members.get("jwt") is not None:
            return Authentication(jwt=_text(members, "jwt", 4096))
        if members.get("key") is not None:
            return Authentication(key=_text(members, "key", 4096))
    return Authentication(session=_text(members, "session", 2048))


def _parse_subscribe(data: object, limits: MessageLimits) -> Subscribe:
    items = _items(data)
    _check_limit(len(items), limits.max_items, "subscriptions are allowed in a message")
    for item in items:
        _check_subscribe_item(item, limits)
    return Subscribe(tuple(_subscribe_item(item, limits) for item in items))


def _check_subscribe_item(item: object, limits: MessageLimits) -> None:
    """Check the shape of one item, in the order of the table in wire specification 4.3."""
    if not isinstance(item, dict | list):
        raise _invalid("items", "Each subscribe payload must be an object.")
    members = _members(item)
    if "subscriptionId" in members and not _is_id(members["subscriptionId"]):
        raise _invalid("items", "subscriptionId is not a valid id.")
    if "channels" not in members:
        raise _invalid("items", "channels is not present in payload.")
    channels = members["channels"]
    if not isinstance(channels, list):
        raise _invalid("items", "channels is not a valid array.")
    if not all(isinstance(channel, str) for channel in channels):
        raise _invalid("items", "channels must contain only strings.")
    queries = members.get("queries", [])
    if not isinstance(queries, list):
        raise _invalid("items", "queries is not a valid array.")
    if "since" in members and not _is_position(members["since"]):
        raise _invalid("items", "since is not a valid position.")
    _check_limit(len(channels), limits.max_channels, "channels are allowed in a subscription")
    _check_limit(len(queries), limits.max_queries, "queries are allowed in a subscription")


def _subscribe_item(members: dict[str, Any], limits: MessageLimits) -> SubscribeItem:
    """Return an item whose shape was checked, with its queries compiled."""
    texts = members.get("queries", [])
    bounds = {"max_depth": limits.max_query_depth, "max_queries": limits.max_queries}
    try:
        compiled = compile_filter(texts, **bounds)
        # Without a filter there may still be a `select(["*"])`, which the response repeats.
        understood = parse_queries(texts, **bounds) if compiled is None else compiled.queries
    except InvalidQueryError as error:
        raise ClientError(ErrorKind.QUERY_INVALID, reason=str(error)) from error
    return SubscribeItem(
        subscription_id=members.get("subscriptionId"),
        channels=members["channels"],
        filter=compiled,
        since=members.get("since"),
        queries=tuple(serialize(query) for query in understood),
    )


def _parse_unsubscribe(data: object, _limits: MessageLimits) -> Unsubscribe:
    ids: list[str] = []
    for item in _items(data):
        subscription_id = _members(item).get("subscriptionId")
        if not isinstance(subscription_id, str) or not subscription_id:
            raise _invalid("items", "Each unsubscribe payload must include a non-empty subscriptionId.")
        ids.append(subscription_id)
    return Unsubscribe(tuple(ids))


def _parse_presence(data: object, _limits: MessageLimits) -> Presence:
    members = _members(data)
    status = _text(members, "status", 2048)
    presence_id = "unique()"
    if members.get("presenceId") is not None:
        presence_id = _text(members, "presenceId", 36)
        if not _is_id(presence_id):
            raise _invalid("presenceId", "Value is not a valid id.")
    return Presence(status, presence_id, members.get("metadata"), _permissions(members.get("permissions")))


def _permissions(value: object) -> tuple[str, ...] | None:
    """Return the permissions of a presence, each of a known form."""
    if value is None:
        return None
    if not isinstance(value, list):
        raise _invalid("permissions", "Permissions must be an array of strings.")
    if len(value) > _MAX_PERMISSIONS:
        raise _invalid("permissions", f"You can only provide up to {_MAX_PERMISSIONS} permissions.")
    for permission in value:
        if not isinstance(permission, str):
            raise _invalid("permissions", "Every permission must be of type string.")
        try:
            Permission.parse(permission)
        except InvalidPermissionError as error:
            raise _invalid("permissions", str(error)) from error
    return tuple(value)


def _members(data: object) -> dict[str, Any]:
    """Return the members of an object; anything else has none."""
    return data if isinstance(data, dict) else {}


def _items(data: object) -> list[Any]:
    """Return ``data`` as the list that it has to be for messages with items."""
    if data is None:
        raise ClientError(ErrorKind.PARAMETER_MISSING, name="Items")
    if not isinstance(data, list):
        raise _invalid("items", "Payload is not valid.")
    return data


def _text(members: dict[str, Any], name: str, max_length: int) -> str:
    """Return the required text called ``name``; a member that is null counts as absent."""
    value = members.get(name)
    if value is None:
        raise ClientError(ErrorKind.PARAMETER_MISSING, name=name[0].upper() + name[1:])
    if not isinstance(value, str) or not 1 <= len(value) <= max_length:
        reason = f"Value must be a valid string and at least 1 chars and no longer than {max_length} chars"
        raise _invalid(name, reason)
    return value


def _is_id(value: object) -> bool:
    """Tell whether ``value`` is an ID that a client may choose (wire specification 4.3)."""
    return isinstance(value, str) and (value == "unique()" or _ID.fullmatch(value) is not None)


def _is_position(value: object) -> bool:
    """Tell whether ``value`` is a position in a log: two numbers of 64 bits, joined by a hyphen."""
    if not isinstance(value, str) or _POSITION.fullmatch(value) is None:
        return False
    return all(int(number) < 2**64 for number in value.split("-"))


def _check_limit(count: int, limit: int, what: str) -> None:
    if limit and count > limit:
        raise ClientError(ErrorKind.LIMIT_EXCEEDED, reason=f"At most {limit} {what}.")


def _invalid(name: str, reason: str) -> ClientError:
    return ClientError(ErrorKind.PARAMETER_INVALID, name=name, reason=reason)


_PARSERS: dict[str, Callable[[object, MessageLimits], ClientMessage]] = {
    "ping": _parse_ping,
    "authentication": _parse_authentication,
    "subscribe": _parse_subscribe,
    "unsubscribe": _parse_unsubscribe,
    "presence": _parse_presence,
}
