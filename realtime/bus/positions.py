"""Positions in a project's log, and live messages that begin with one. Pure.

A position is the ID of a log entry, ``<milliseconds>-<sequence>``; compared as two numbers, since ``9-0``
comes before ``10-0``. ``0-0`` is before the first event (wire specification 16.2 and 16.3).
"""

from typing import TypeAlias

Position: TypeAlias = tuple[int, int]

START: Position = (0, 0)
"""Before the first event."""

_MAX_NUMBER = 2**64 - 1
_MAX_LENGTH = 2 * len(str(_MAX_NUMBER)) + 1
_FORM = "A position has the form <milliseconds>-<sequence>."
_PREFIX = b'{"id":"'


def parse_position(text: str | bytes) -> Position:
    """Parse ``<milliseconds>-<sequence>``.

    Raises:
        ValueError: It is not two decimal numbers of at most 64 bits.
    """
    milliseconds, _, sequence = (text.encode() if isinstance(text, str) else text).partition(b"-")
    if not (milliseconds.isdigit() and sequence.isdigit() and len(text) <= _MAX_LENGTH):
        raise ValueError(_FORM)
    position = int(milliseconds), int(sequence)
    if max(position) > _MAX_NUMBER:
        raise ValueError(_FORM)
    return position


def format_position(position: Position) -> str:
    """Serialize a position; the inverse of :func:`parse_position`."""
    return f"{position[0]}-{position[1]}"


def live_message(event_id: bytes, envelope: bytes) -> bytes:
    """Return what is sent on the live channel for an event: its envelope, with its ID as the first member.

    ``publish.lua`` does the same; the two must agree.
    """
    return b'%s%s",%s' % (_PREFIX, event_id, envelope[1:])


def message_position(message: bytes) -> Position | None:
    """Return the position that a live message begins with; None for a message that is not in the log.

    Reads the first bytes only: the rest is decoded once, by whoever delivers it.
    """
    if not message.startswith(_PREFIX):
        return None
    try:
        return parse_position(message[len(_PREFIX) : message.index(b'"', len(_PREFIX))])
    except ValueError:
        return None
