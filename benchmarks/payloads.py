"""The events that the benchmarks publish: of a given size on the wire, and made of words.

A payload of one letter repeated would compress to nothing, so every text here is a sentence. Which resource an event
is about follows from its size: an event lists all of its names and channels, and those of a row alone are 2 KB.
"""

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from benchmarks.common import PROJECT
from realtime.events.event import Event, prepare
from realtime.hub.frames import text_header
from realtime.messages import EVENT_SUFFIX, event_prefix

EVENT_ID = "1700000000000-0"
"""As long as the IDs that the log gives."""
SUBSCRIPTION_ID = '"0123456789abcdef0123"'
VARIANTS = 100
"""Events of different words that take turns: more than a compressor with a memory of 32 KB can hold."""

_TEXT = """the be to of and a in that have it for not on with he as you do at this but his by from they we say her
she or an will my one all would there their what so up out if about who get which go me when make can like time no
just him know take people into year your good some could them see other than then now look only come its over think
also back after use two how our work first well way even new want because any these give day most us great between
need large often hand high place hold turn help start might story far draw left late run while press close night
real life few open seem together next white children begin got walk example ease paper group always music those
both mark book letter until mile river car feet care second enough plain girl usual young ready above ever red list
though feel talk bird soon body dog family direct pose leave song measure door product black short numeral class
wind question happen complete ship area half rock order fire south problem piece told knew pass since top whole
king space heard best hour better during hundred five remember step early hold west ground interest reach fast verb
sing listen six table travel less morning ten simple several vowel toward war lay against pattern slow center love
person money serve appear road map rain rule govern pull cold notice voice unit power town fine certain fly fall
lead cry dark machine note wait plan figure star box noun field rest correct able pound done beauty drive stood
contain front teach week final gave green quick develop ocean warm free minute strong special mind behind clear"""
_WORDS = _TEXT.split()
_WEIGHTS = [1 / rank for rank in range(1, len(_WORDS) + 1)]


_ID = "6a1f0c83e2b94d57a0b1"
_RESOURCE = {
    "$id": _ID,
    "$createdAt": "2026-01-01T10:00:00.000+00:00",
    "$updatedAt": "2026-01-02T11:30:00.000+00:00",
    "$permissions": ['read("team:readers")', f'update("user:{_ID}")', f'delete("user:{_ID}")'],
}


class Subject(NamedTuple):
    """What events are about."""

    event: str
    channel: str
    least_bytes: int
    """The size of frame from which on this is used."""
    payload: Mapping[str, Any]
    """What such a resource has besides its text."""


SUBJECTS = (
    Subject(
        f"databases.main.tables.posts.rows.{_ID}.update",
        "tablesdb.main.tables.posts.rows",
        4_000,
        _RESOURCE | {"$sequence": 42, "$tableId": "posts", "$databaseId": "main"},
    ),
    Subject(f"buckets.photos.files.{_ID}.update", "buckets.photos.files", 1_400, _RESOURCE),
    Subject("teams.readers.update", "teams.readers", 0, {}),
)


class _Envelope(msgspec.Struct):
    data: msgspec.Raw


def subject_of(frame_bytes: int) -> Subject:
    """Return what an event is about whose frame has ``frame_bytes``."""
    return next(subject for subject in SUBJECTS if frame_bytes >= subject.least_bytes)


def envelope(name: str, payload: Mapping[str, Any], *roles: str) -> bytes:
    """Return the envelope of an event that ``roles`` may read, ready for the bus."""
    (prepared,) = prepare(Event(name, payload, roles=roles), PROJECT, now=datetime.now(UTC))
    return prepared.envelope


def data_of(body: bytes) -> bytes:
    """Return the part of an envelope that is for clients."""
    return bytes(msgspec.json.decode(body, type=_Envelope).data)


def hub_frame_size(body: bytes) -> int:
    """Return the size of the hub's uncompressed frame for an envelope and one subscription."""
    size = len(event_prefix(data_of(body), EVENT_ID)) + len(SUBSCRIPTION_ID) + len(EVENT_SUFFIX)
    return len(text_header(size)) + size


def peer_frame_size(data: bytes) -> int:
    """Return the size of the frame in which a peer passes on ``data``, to which the publisher adds an ID."""
    size = len(f'{{"id":"{EVENT_ID}",') + len(data) - 1
    return len(text_header(size)) + size


def sentence(size_bytes: int, seed: int) -> str:
    """Return ``size_bytes`` of words; the same for the same ``seed``."""
    words = random.Random(seed).choices(_WORDS, _WEIGHTS, k=size_bytes // 2 + 1)
    return " ".join(words)[:size_bytes]


def bodies(frame_bytes: int, *roles: str, is_hub: bool = True) -> list[bytes]:
    """Return what to publish so that frames have ``frame_bytes``.

    For the hub these are envelopes; for a peer, which knows neither roles nor projects, what clients get of them.
    """
    subject = subject_of(frame_bytes)

    def made(text: str, seed: int) -> bytes:
        body = envelope(subject.event, {**subject.payload, "votes": seed + 100, "text": text}, *roles)
        return body if is_hub else data_of(body)

    size = hub_frame_size if is_hub else peer_frame_size
    missing = frame_bytes - size(made("", 0))
    if missing < 0:
        raise ValueError(f"no event fits into {frame_bytes} bytes")
    return [made(sentence(missing, seed), seed) for seed in range(VARIANTS)]
