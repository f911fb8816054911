"""The name of every Redis key and channel, each with its type, fields, lifetime and reason.

Everything of a project lies under the hash tag of one of :data:`BUCKETS` buckets, for example
``{b17}:log:demo``. On Redis Cluster a tag is one slot, so that one script or one ``MULTI`` can touch a
project's log, identities and live channel together; a project never moves to another bucket. The module is
pure.

IDs of projects and users hold no ``:`` (wire specification 7.1), so names cannot collide.
"""

import hashlib
import zlib
from functools import lru_cache
from typing import Literal, TypeAlias

WorkKind: TypeAlias = Literal["webhooks", "functions"]
"""What events wait for."""

WORK_KINDS: tuple[WorkKind, ...] = ("webhooks", "functions")

BUCKETS = 64
"""How many hash tags the keys are spread over. Never changed once data exists: it decides where keys are."""

BRIDGE_CHANNEL = "realtime"
"""Channel. Where unmodified Appwrite containers publish the envelopes of all projects (wire spec 9.2)."""


def bucket(project: str) -> int:
    """Return the bucket of ``project``: CRC-32 of its UTF-8 bytes, modulo :data:`BUCKETS`."""
    return zlib.crc32(project.encode()) % BUCKETS


@lru_cache(maxsize=65536)
def _tag(project: str) -> str:
    return f"{{b{bucket(project)}}}"


def log_key(project: str) -> str:
    """Name the project's event log.

    Stream. One entry an event, with the field ``e``: the envelope of wire specification 9.2, as JSON without
    an ID; the entry's ID is the event's position. Trimmed by length and age at each publish, so a hub or
    client that was away can read what it missed.
    """
    return f"{_tag(project)}:log:{project}"


def live_channel(project: str) -> str:
    """Name the channel that hubs with connections to the project subscribe to.

    Channel. Each message is one JSON object that :func:`realtime.events.event.decode_live` reads: an envelope
    that begins with its ``id``, or an identity change.
    """
    return f"{_tag(project)}:live:{project}"


def idempotency_key(project: str, key: str) -> str:
    """Name the record of a publish that was made with the idempotency key ``key``.

    String: the IDs of the published events, joined by commas. Expires after the idempotency time-to-live. It
    lets a publisher that did not see the answer ask again without publishing twice. ``key`` is anything that
    a caller sends; its SHA-256 bounds the name's length.
    """
    return f"{_tag(project)}:idempotency:{project}:{hashlib.sha256(key.encode()).hexdigest()}"


def outbox_key(project: str, outbox: str) -> str:
    """Name the record of the last batch that was published from an outbox.

    String: the number and checksum of each of its events, joined by commas. Expires after a month. Who finds a batch
    in the outbox after a crash learns from it whether that batch was published.
    """
    return f"{_tag(project)}:outbox:{project}:{outbox}"


def resume_key(project: str, owner: str, subscription_id: str) -> str:
    """Name the record by which a subscription returns after its connection was lost.

    String: ``<holder> <mode> <position>`` (``resume.lua`` says what they mean), for as long as the subscription
    lives and a lifetime longer. ``owner`` is a digest of whom the connection acts as: nobody reaches the record of
    somebody else. ``subscription_id`` was checked (wire specification 4.3).
    """
    return f"{_tag(project)}:resume:{project}:{owner}:{subscription_id}"


def resume_floor_key(project: str, hub_id: str) -> str:
    """Name the record of how far everybody on a hub has confirmed what they were sent.

    String: a position. Expires a lifetime after the hub last wrote it. One a hub and project, so that a hub that
    dies leaves behind how far its clients had come, at the price of one write for all of them.
    """
    return f"{_tag(project)}:resume-floor:{project}:{hub_id}"


def presences_key(project: str) -> str:
    """Name the presences of a project.

    Hash: presence ID to ``<version> <JSON>`` of :class:`realtime.presences.model.Presence`, from a presence's first
    ``upsert`` until its ``delete``. The version, a number that is never used twice, tells whether a presence is still
    the one that an event was made of.
    """
    return f"{_tag(project)}:presences:{project}"


def presence_users_key(project: str) -> str:
    """Name the index of a project's presences by user.

    Hash: user ID to the ID of the user's one presence, for as long as it exists.
    """
    return f"{_tag(project)}:presence-users:{project}"


def presence_order_key(project: str) -> str:
    """Name the order in which a project's presences were made.

    Sorted set: presence ID by its sequence number. It lets presences be read page by page.
    """
    return f"{_tag(project)}:presence-order:{project}"


def presence_number_key(project: str) -> str:
    """Name the counter that a project's presences take their sequence numbers and versions from.

    String: the last number given out; stays with the project.
    """
    return f"{_tag(project)}:presence-number:{project}"


def presence_lists_key(project: str) -> str:
    """Name the counter that makes cached lists of a project's presences void.

    String: how often that happened; stays with the project.
    """
    return f"{_tag(project)}:presence-lists:{project}"


def presence_holders_key(project: str, user_id: str) -> str:
    """Name who holds a user's presence.

    Set: ``<hub>:<connection>`` of each connection that set it, until the connection is gone or the API takes the
    presence over. By user, so that a connection can let go without knowing which presence it got.
    """
    return f"{_tag(project)}:presence-holders:{project}:{user_id}"


def presence_hub_key(number: int, hub_id: str) -> str:
    """Name what a hub holds in bucket ``number``.

    Set: ``<project>:<user>:<connection>`` for each entry of the hub in :func:`presence_holders_key`. It tells what to
    let go of when the hub has died.
    """
    return f"{{b{number}}}:presence-hub:{hub_id}"


def presence_leases_key(number: int) -> str:
    """Name the leases of the hubs that hold presences in bucket ``number``.

    Sorted set: hub ID by the time at which it counts as dead unless it renews its lease; Unix time in milliseconds,
    by the clock of the server. A hub leaves it once nothing of it is left.
    """
    return f"{{b{number}}}:presence-leases"


def presence_ends_key(number: int) -> str:
    """Name the ends of the presences in bucket ``number``.

    Sorted set: ``<project>:<presence>`` by the time at which it expires, in Unix milliseconds. One a bucket, so that
    looking for what has expired costs the same however many projects there are.
    """
    return f"{{b{number}}}:presence-ends"


PRESENCE_SWEEP_KEY = "presence-sweep"
"""String. Whose turn it is to sweep presences that are over; expires after a moment, when it is anybody's."""


def projects_key(number: int) -> str:
    """Name the set of the projects in bucket ``number``.

    Set of project IDs, for as long as the projects exist. Per bucket, so that it is written together with the
    project's record.
    """
    return f"{{b{number}}}:projects"


def project_key(project: str) -> str:
    """Name the project's record.

    String: JSON of :class:`realtime.identity.model.Project`, for as long as the project exists.
    """
    return f"{_tag(project)}:project:{project}"


def user_key(project: str, user_id: str) -> str:
    """Name a user's record.

    String: JSON of :class:`realtime.identity.model.User`, for as long as the user exists. One key a user: a
    connection reads exactly the person it acts as.
    """
    return f"{_tag(project)}:user:{project}:{user_id}"


def user_key_pattern() -> str:
    """Return the glob pattern that the names of all users' records match, and of no other keys."""
    return "{b*}:user:*"


def split_user_key(key: str) -> tuple[str, str]:
    """Return the project and the user of a :func:`user_key`."""
    _, _, project, user_id = key.split(":")
    return project, user_id


def user_emails_key(project: str) -> str:
    """Name the index of the project's users by email address, used when a request impersonates by email.

    Hash: lower-case address to user ID, for as long as the user has the address.
    """
    return f"{_tag(project)}:emails:{project}"


def user_phones_key(project: str) -> str:
    """Name the index of the project's users by phone number, used when a request impersonates by phone.

    Hash: phone number as stored to user ID, for as long as the user has the number.
    """
    return f"{_tag(project)}:phones:{project}"


def keys_key(project: str) -> str:
    """Name the project's API keys.

    Hash: hash of the key's secret to JSON of :class:`realtime.identity.model.ApiKey`, until the key is
    deleted. By hash, so that a presented secret is found in one step and a dump of Redis reveals none.
    """
    return f"{_tag(project)}:keys:{project}"


def triggers_key(project: str) -> str:
    """Name the project's webhooks and functions, as those who deliver and run them read them.

    Hash: ``webhook:<id>`` to JSON of :class:`realtime.triggers.model.Webhook`, and ``function:<id>`` to JSON of
    :class:`realtime.triggers.model.FunctionTrigger`, until the resource is deleted. One hash, so that a worker reads
    all that an event may set off in one step.
    """
    return f"{_tag(project)}:triggers:{project}"


def triggers_version_key(number: int) -> str:
    """Name the version of all triggers in bucket ``number``.

    String: the microsecond of the last change of a trigger, by the clock of the server, or one more than the number
    before. So no number comes twice, also when Redis has lost what it held. Per bucket, so that a worker notices every
    change by reading 64 of them.
    """
    return f"{{b{number}}}:triggers-version"


def trigger_names_key(project: str, kind: WorkKind) -> str:
    """Name the index of what the project's enabled webhooks, or functions, wait for.

    Hash: name of an event, as its trigger has it, to how many triggers have it; kept together with
    :func:`triggers_key`. Absent when none waits for anything, so that publishing asks no more than whether it is there.
    """
    return f"{_tag(project)}:trigger-names:{kind}:{project}"


def work_key(number: int, kind: WorkKind) -> str:
    """Name the events of bucket ``number`` that webhooks, or functions, still have to be told of.

    Stream with the consumer group ``workers``. One entry an event that was waited for when it was published, with the
    fields ``e``: its envelope; ``i``: its position in the project's log; ``f``: the full payload, if it is not the
    envelope's. An entry is deleted when it is done, so the length is what waits; bounded by not publishing.
    """
    return f"{{b{number}}}:work:{kind}"


def calls_channel(kind: WorkKind) -> str:
    """Name the channel on which the workers of a kind are called to look for what is due in the database.

    Channel. Messages are empty. Of no bucket: a worker is for all projects.
    """
    return f"calls:{kind}"


def work_dead_key(number: int, kind: WorkKind) -> str:
    """Name the entries of :func:`work_key` that could not be handled.

    Stream. The fields of the entry, and ``r``: why. The oldest are dropped beyond about a thousand.
    """
    return f"{{b{number}}}:work-dead:{kind}"


def window_key(project: str, name: str, number: int) -> str:
    """Name the counter of one fixed window of a rate limit.

    String: a number. Expires soon after its window. ``name`` says who does what, with addresses that callers send; its
    SHA-256 bounds the name's length and shows none of them.
    """
    return f"{_tag(project)}:window:{project}:{hashlib.sha256(name.encode()).hexdigest()}:{number}"


def probe_channel(listener_id: str, number: int) -> str:
    """Name the channel on which one listener sends messages to itself by way of bucket ``number``.

    Channel, subscribed as long as the listener is connected. A link that is open but delivers nothing is
    noticed because the probe does not come back. In a bucket, so that on Redis Cluster it takes the way that live
    messages take.
    """
    return f"{{b{number}}}:probe:{listener_id}"
