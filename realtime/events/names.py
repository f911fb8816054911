"""Event names: parsing them, and expanding one into all the names that subscribers may know it by.

A *pattern* has placeholders, ``teams.[teamId].memberships.[membershipId].create``; a *name* has IDs in their
place, ``teams.red.memberships.m1.create``; a *subscribed name* may have ``*`` there. All three are read by
one walk through the catalogue. Names are split at dots, so an ID that contains a dot (Appwrite allows them)
cannot be told from two segments in a concrete name: such events are given as a pattern with parameters, and
their names then contain the dots as they are. The module is pure. Source: wire specification 7.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from realtime.errors import InvalidEventError
from realtime.events.catalogue import CATALOGUE, DATABASE_TYPES, SYNONYMS, VOCABULARY, Resource
from realtime.permissions import is_valid_id

MAX_PARAMS = 6
"""How many parameters an event may have: the API gives five. The work of compiling a pattern grows with their cube."""

MAX_NAME_CHARS = 1_024
"""How long a name or a pattern may be. Three IDs of 255 characters and the words around them fit."""

_STAR = "*"
_TO_COLLECTIONS = {word.tables: word.collections for word in VOCABULARY}
_TO_TABLES = {word.collections: word.tables for word in VOCABULARY}
# The legacy API has table words below the prefix `databases`, which itself stays.
_TO_LEGACY_TABLES = {**_TO_TABLES, "databases": "databases", "tablesdb": "databases"}


def _params_of(resources: Iterable[Resource]) -> Iterator[str]:
    for resource in resources:
        yield resource.param
        yield SYNONYMS.get(resource.param, resource.param)
        yield from _params_of(resource.children)


_PARAMS = frozenset(_params_of(CATALOGUE.values()))
"""Every parameter that some event has."""


@dataclass(frozen=True, slots=True)
class EventName:
    """A concrete name, taken apart."""

    pattern: str
    """The name with placeholders: ``databases.[databaseId].tables.[tableId].rows.[rowId].create``."""
    params: Mapping[str, str]
    """The ID for each placeholder, in the order of the pattern."""


class Parts(NamedTuple):
    """What a pattern, a name or a subscribed name is made of."""

    resources: tuple[Resource, ...]
    """The path through the catalogue, outermost first: one to three resources."""
    action: str
    """Empty if the name ends with a resource."""
    attribute: str
    """What the action was about, such as ``email``; mostly empty."""


def parse_name(name: str) -> EventName:
    """Parse a concrete name, such as ``buckets.photos.files.cat.create``.

    Raises:
        InvalidEventError: the catalogue has no such event, an ID is not valid (``*`` is none), or the name is longer
            than :data:`MAX_NAME_CHARS`.
    """
    _check_length(name)
    segments = name.split(".")
    parts = _walk(segments, _is_id_of)
    if parts is None:
        raise _unknown(name)
    params: dict[str, str] = {}
    for depth, resource in enumerate(parts.resources):
        params[resource.param] = segments[2 * depth + 1]
        segments[2 * depth + 1] = f"[{resource.param}]"
    return EventName(".".join(segments), params)


@lru_cache(maxsize=4096)
def parse_pattern(pattern: str) -> Parts:
    """Parse a pattern, such as ``users.[userId].update.email``.

    Raises:
        InvalidEventError: the catalogue has no such event, a placeholder is not the one of its resource, or the
            pattern is longer than :data:`MAX_NAME_CHARS`.
    """
    _check_length(pattern)
    parts = _walk(pattern.split("."), _is_placeholder_of)
    if parts is None:
        raise _unknown(pattern)
    return parts


def validate_subscription(name: str) -> str:
    """Return ``name`` if webhooks and functions may subscribe to it (wire specification 7.4).

    Each ID may be ``*``. Upserts of rows and documents are accepted, though Appwrite refuses them.

    Raises:
        InvalidEventError: it is not the name of anything in the catalogue, or longer than :data:`MAX_NAME_CHARS`.
    """
    _check_length(name)
    if _walk(name.split("."), _is_id_or_star) is None:
        raise InvalidEventError("Event is not valid.")
    return name


def expand(pattern: str, params: Mapping[str, str], *, database_type: str | None = None) -> list[str]:
    """Return every name of an event, each once, in the order of wire specification 7.2.

    The first is concrete: the name itself, or for ``users.[userId].update.email`` and its like the name
    without the attribute. Then come those with ``*`` for IDs, the shorter ones, and, beside each name of a
    table or row, its counterparts in the other vocabulary. Unlike in Appwrite, an ID that equals a word of
    the vocabulary stays.

    Args:
        pattern: the name with placeholders.
        params: the IDs. Parameters that the pattern does not have are allowed; they only decide the order.
        database_type: the type of the database the event is about, one of ``legacy``, ``tablesdb``,
            ``documentsdb``, ``vectorsdb``; patterns in the words of ``databases`` are told in its words.

    Raises:
        InvalidEventError: the pattern is not in the catalogue, a parameter is missing, unknown or not a valid ID,
            there are more than :data:`MAX_PARAMS`, or the database type is unknown.
    """
    # One string with a mark for each ID, filled in by str.replace, is three to four times as fast as formatting
    # each name (benchmarks/expansion.py).
    names, marks = _compile(pattern, tuple(params), database_type)
    for param, value in params.items():
        if not isinstance(value, str) or not is_valid_id(value):
            raise InvalidEventError(f"[{param}] is not a valid ID.")
    for mark, param in marks:
        names = names.replace(mark, params[param])
    return names.split("\n")


def retarget(pattern: str, database_type: str | None) -> str:
    """Return ``pattern`` in the words of a type of database (wire specification 7.2, step 3).

    Only patterns that begin with ``databases`` change, and only for types other than ``legacy``.

    Raises:
        InvalidEventError: the type is unknown.
    """
    if database_type is None:
        return pattern
    if database_type not in DATABASE_TYPES:
        raise InvalidEventError(f"Database type must be one of {', '.join(DATABASE_TYPES)}.")
    segments = pattern.split(".")
    if segments[0] != "databases" or database_type == "legacy":
        return pattern
    if database_type == "tablesdb":
        return ".".join(_TO_TABLES.get(segment, segment) for segment in segments)
    return ".".join([database_type, *segments[1:]])


def placeholders(pattern: str) -> tuple[str, ...]:
    """Return the parameters that a pattern needs, in its order."""
    return tuple(segment[1:-1] for segment in pattern.split(".") if segment.startswith("["))


def _walk(segments: list[str], accepts: Callable[[str, Resource], bool]) -> Parts | None:
    """Follow ``segments`` through the catalogue; None if they lead nowhere.

    ``accepts`` judges what stands in the place of a resource's ID.
    """
    path: list[Resource] = []
    resource = CATALOGUE.get(segments[0])
    while resource is not None:
        end = 2 * len(path) + 2
        if end > len(segments) or not accepts(segments[end - 1], resource):
            return None
        path.append(resource)
        action, attribute = [*segments[end : end + 2], "", ""][:2]
        rest = len(segments) - end
        if rest == 0:
            return Parts(tuple(path), "", "")
        # An action is tried before a child, for the one word that is both: `users.[userId].sessions.delete`.
        if action in resource.actions and (
            rest == 1 or (rest == 2 and attribute in resource.actions[action])
        ):
            return Parts(tuple(path), action, attribute)
        resource = next((child for child in resource.children if child.word == action), None)
    return None


def _is_id_of(segment: str, _resource: Resource) -> bool:
    return is_valid_id(segment)


def _is_id_or_star(segment: str, _resource: Resource) -> bool:
    return segment == _STAR or is_valid_id(segment)


def _is_placeholder_of(segment: str, resource: Resource) -> bool:
    return segment in (f"[{resource.param}]", f"[{SYNONYMS.get(resource.param, resource.param)}]")


def _check_length(name: str) -> None:
    # Before anything else looks at it: it may be as long as a request.
    if len(name) > MAX_NAME_CHARS:
        raise InvalidEventError(f"An event's name has at most {MAX_NAME_CHARS} characters, not {len(name)}.")


def _unknown(name: str) -> InvalidEventError:
    shown = f"{name[:200]}..." if len(name) > 200 else name
    return InvalidEventError(f"Event `{shown}` is not in the catalogue, or has an ID that is not valid.")


@lru_cache(maxsize=4096)
def _compile(
    pattern: str, keys: tuple[str, ...], database_type: str | None
) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Expand a pattern for all values at once.

    Returns:
        All names, one a line, with a control character for each ID; and which character stands for which
        parameter. Names that differ here differ for all values too, since no ID is ``*`` or has a line break.
    """
    if len(keys) > MAX_PARAMS:
        raise InvalidEventError(f"An event has at most {MAX_PARAMS} params.")
    pattern = retarget(pattern, database_type)
    parts = parse_pattern(pattern)
    # What is compiled is kept, so it must be made of what the catalogue knows, not of what a stranger chose.
    unknown = sorted(set(keys) - _PARAMS)
    if unknown:
        raise InvalidEventError(f"No event has the param `{unknown[0][:40]}`.")
    needed = placeholders(pattern)
    for param in needed:
        if param not in keys:
            raise InvalidEventError(f"[{param}] is missing from the params.")
    starred = [name for level in _levels(pattern, parts) for name in _star(level, keys, len(parts.resources))]
    names = list(dict.fromkeys(name for event in starred for name in _mirror(event)))
    marks = tuple((chr(1 + position), param) for position, param in enumerate(needed))
    text = "\n".join(names)
    for mark, param in marks:
        text = text.replace(f"[{param}]", mark)
    return text, marks


def _levels(pattern: str, parts: Parts) -> list[str]:
    """Return the pattern and its shorter forms, most specific first (wire specification 7.2, step 1)."""
    segments = pattern.split(".")
    depth = len(parts.resources)
    resources = [".".join(segments[: 2 * level]) for level in range(depth, 0, -1)]
    action = f".{parts.action}" if parts.action else ""
    attribute = f".{parts.attribute}" if parts.attribute else ""
    levels: list[str] = []
    if depth > 1:
        levels += [resources[0] + action + attribute, resources[0] + action, resources[0]]
    elif action:
        levels.append(resources[0] + action)
    if attribute:
        # For two resources this is a name nobody would expect, `teams.T.update.status`. Appwrite fires it.
        levels.append(resources[-1] + action + attribute)
    return list(dict.fromkeys(levels + resources))


def _star(pattern: str, keys: tuple[str, ...], depth: int) -> Iterator[str]:
    """Yield ``pattern`` with more and fewer of its IDs starred (wire specification 7.2, step 2)."""

    def without(*starred: str) -> str:
        return ".".join(_STAR if segment[1:-1] in starred else segment for segment in pattern.split("."))

    yield pattern
    yield without(*placeholders(pattern))
    for first in keys:
        for second in keys:
            if depth < 3:
                if second != first:
                    yield without(second)
                continue
            for third in keys:
                if third not in (first, second):
                    yield without(third)
                    yield without(third, second)
                    yield without(second)


def _mirror(event: str) -> Iterator[str]:
    """Yield ``event`` and its counterparts in the other vocabularies (wire specification 7.2, step 4)."""
    yield event
    segments = event.split(".")
    if segments[0] == "tablesdb":
        yield ".".join(_TO_COLLECTIONS.get(segment, segment) for segment in segments)
        yield ".".join(_TO_LEGACY_TABLES.get(segment, segment) for segment in segments)
    elif segments[0] == "databases" and "collections" in segments:
        yield ".".join(_TO_LEGACY_TABLES.get(segment, segment) for segment in segments)
    elif segments[0] == "databases":
        yield ".".join(_TO_COLLECTIONS.get(segment, segment) for segment in segments)
