"""An event as those read it who deliver it to webhooks and run functions for it. Pure."""

from typing import NamedTuple

import msgspec

from realtime.events.event import decode_data


class WorkItem(NamedTuple):
    """An entry of a work stream."""

    bucket: int
    entry_id: bytes
    event_id: str
    """The event's position in its project's log."""
    envelope: bytes
    full_payload: bytes
    """The payload, with what realtime clients do not get; empty if it is the envelope's."""
    times_read: int
    """How often it was given to a worker, this time included."""


class WorkEvent(msgspec.Struct, frozen=True):
    """An event that webhooks or functions are to be told of."""

    project: str
    event_id: str
    """Its position in the project's log: no other event of the project has it."""
    events: list[str]
    """Every name of it; the first has no wildcard."""
    actor_id: str
    """The acting user; empty for API keys and guests."""
    depth: int
    """How many functions, one setting off the next, led to it; 0 when none did."""
    timestamp: str
    """When it happened, ``YYYY-MM-DDTHH:MM:SS.mmm+00:00``."""
    payload: bytes
    """The resource as JSON, also with what realtime clients do not get of it."""


class _Envelope(msgspec.Struct, rename="camel"):
    project: str
    data: msgspec.Raw
    actor_id: str = ""
    depth: int = 0


_ENVELOPE = msgspec.json.Decoder(_Envelope)


def decode_work(item: WorkItem) -> WorkEvent:
    """Decode an entry of a work stream.

    Raises:
        msgspec.DecodeError: it is not JSON, or (as :class:`msgspec.ValidationError`) not an event.
    """
    envelope = _ENVELOPE.decode(item.envelope)
    data = decode_data(envelope.data)
    return WorkEvent(
        project=envelope.project,
        event_id=item.event_id,
        events=data.events,
        actor_id=envelope.actor_id,
        depth=envelope.depth,
        timestamp=data.timestamp,
        payload=item.full_payload or bytes(data.payload),
    )
