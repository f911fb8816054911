"""Publishing events to Redis and reading the log back. One command a call; no decisions about content."""

import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeAlias

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from realtime.bus.connect import connect, publish_command, redis_url
from realtime.bus.keys import (
    WORK_KINDS,
    bucket,
    live_channel,
    log_key,
    outbox_key,
    trigger_names_key,
    work_key,
)
from realtime.bus.keys import idempotency_key as idempotency_record
from realtime.bus.positions import START, Position, format_position, live_message, parse_position
from realtime.bus.scripts import read_script
from realtime.bus.work import telling_full
from realtime.settings import Settings

log = structlog.get_logger("realtime.bus")

APPEND_SCRIPT = Path(__file__).with_name("append.lua")
"""What scripts of other packages begin with that publish in the same step."""

_PUBLISH = read_script(APPEND_SCRIPT, Path(__file__).with_name("publish.lua"))
_ZERO = format_position(START)
_OUTBOX_TTL_S = 30 * 86_400.0
"""For how long a batch may stay in doubt: an outbox that is found after longer than that is published once more."""

_Entries: TypeAlias = list[tuple[bytes, dict[bytes, bytes]]]


class LogPage(NamedTuple):
    """Events of a log, one after another."""

    events: list[tuple[str, bytes]]
    """ID and live message of each event, oldest first."""
    is_complete: bool
    """Whether the log still holds every event after the position that was asked for."""


class LogState(NamedTuple):
    """Where a log stands: what was ever written to it, whether or not it is still there."""

    last: str
    """ID of the last event; ``0-0`` when there is no log."""
    published: int | None
    """How many events were ever appended; None if the server does not count (before Redis 7)."""
    kept: int
    """How many events it holds."""


class RedisBus:
    """The log and the live channel of every project. Safe to share within an event loop.

    Every method raises :class:`redis.RedisError` when Redis fails; those that publish raise
    :class:`~realtime.bus.work.WorkFullError`, which is one, when so much waits for webhooks or functions that nothing
    was published.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        log_max_events: int = 100_000,
        log_max_age_s: float = 86_400,
        idempotency_ttl_s: float = 86_400,
        work_max_events: int = 100_000,
    ) -> None:
        """Use ``redis``, a client that answers with bytes; :meth:`aclose` closes it.

        Args:
            redis: For example from :func:`realtime.bus.connect`.
            log_max_events: How many events a project's log keeps, about (whole blocks are trimmed); 0 for no
                bound.
            log_max_age_s: How long, about; 0 for no bound.
            idempotency_ttl_s: How long a publish with an idempotency key is remembered.
            work_max_events: How many events of a bucket may wait for webhooks, and how many for functions; a batch
                that finds none waiting may be larger.
        """
        self._redis = redis
        self._publish = redis.register_script(_PUBLISH)
        self._publish_command = publish_command(redis)
        self._log_max_events = log_max_events
        self._log_max_age_ms = int(log_max_age_s * 1000)
        self._idempotency_ttl_s = idempotency_ttl_s
        self._work_max_events = work_max_events

    @property
    def redis(self) -> Redis:
        """The client, for what else the programs keep in the same Redis."""
        return self._redis

    def append_keys(self, project: str) -> list[str]:
        """Return the keys that ``append.lua`` needs, which every script that publishes begins with."""
        number = bucket(project)
        waiting = ((trigger_names_key(project, kind), work_key(number, kind)) for kind in WORK_KINDS)
        return [log_key(project), *(name for names in waiting for name in names)]

    def append_arguments(self, project: str) -> list[str | int]:
        """Return the arguments that ``append.lua`` needs, which every script that publishes begins with."""
        return [
            self._publish_command,
            live_channel(project),
            self._log_max_events,
            self._log_max_age_ms,
            self._work_max_events,
        ]

    @classmethod
    def from_settings(cls, settings: Settings, redis: Redis | None = None) -> Self:
        """Make a bus with the settings' limits; with a client of its own unless it is given one."""
        return cls(
            redis or connect(redis_url(settings)),
            log_max_events=settings.log_max_events,
            log_max_age_s=settings.log_max_age_s,
            idempotency_ttl_s=settings.idempotency_ttl_s,
            work_max_events=settings.work_max_events,
        )

    async def publish(
        self,
        project: str,
        records: Sequence[bytes],
        *,
        idempotency_key: str | None = None,
        idempotency_ttl_s: float | None = None,
    ) -> list[str]:
        """Publish events of one project: all in one atomic step, in the log and on the live channel, in order.

        After an error they may have been published or not, all or none. Cancelling leaves the same doubt.
        With an idempotency key the call can then be repeated: whatever was published under it in this project
        is not published again.

        Args:
            project: Whose log and channel.
            records: JSON objects with at least one member, encoded (wire specification 9.2); each of them may be
                followed by what else of the event webhooks and functions are to get
                (:attr:`realtime.events.event.Prepared.record`).
            idempotency_key: Any text.
            idempotency_ttl_s: How long the key is remembered; None for the bus' own time.

        Returns:
            The events' IDs, in the order given; those of the first call when the key was used before.
        """
        if not records:
            return []
        keys = self.append_keys(project)
        if idempotency_key is not None:
            keys.append(idempotency_record(project, idempotency_key))
        ttl_s = self._idempotency_ttl_s if idempotency_ttl_s is None else idempotency_ttl_s
        ids = await self._append(project, keys, ttl_s, "", records)
        return ids.decode().split(",")

    async def relay(self, project: str, outbox: str, events: Sequence[tuple[int, bytes]]) -> None:
        """Publish events that an outbox holds, each once, however often the same batch is handed in.

        The batches of an outbox for one project come one after another: the next is handed in only when this one was
        confirmed, or together with it. After an error, or a crash before the outbox forgot the batch, hand it in again;
        what was published of it is left out.

        Args:
            project: Whose log and channel.
            outbox: A name that no other outbox has.
            events: The number of each in the outbox, never used twice, and its record; in order.
        """
        if not events:
            return
        # With a checksum, since a database that was restored from a backup gives numbers out again.
        numbers = ",".join(f"{number}-{zlib.crc32(record):x}" for number, record in events)
        keys = [*self.append_keys(project), outbox_key(project, outbox)]
        await self._append(project, keys, _OUTBOX_TTL_S, numbers, [record for _, record in events])

    async def _append(
        self, project: str, keys: Sequence[str], ttl_s: float, numbers: str, records: Sequence[bytes]
    ) -> bytes:
        lifetime_ms = max(int(ttl_s * 1000), 1)
        arguments = [*self.append_arguments(project), lifetime_ms, numbers, *records]
        with telling_full():
            ids: bytes = await self._publish(keys, arguments)
        return ids

    async def log_state(self, project: str) -> LogState:
        """Return where the log stands."""
        try:
            return _log_state(await self._redis.xinfo_stream(log_key(project)))
        except ResponseError as error:
            return _state_without_log(error)

    async def read_end(self, project: str, after: str, *, limit: int = 1000) -> tuple[LogPage, LogState]:
        """Do what :meth:`read_page` does, except for making up for entries that are not events; and return where
        the log stood at that very moment.
        """  # noqa: D205 - one sentence
        entries, is_complete, state = await self._read_with_state(project, parse_position(after), limit)
        return LogPage(_messages(entries), is_complete), state

    async def read_page(self, project: str, after: str, *, limit: int = 1000) -> LogPage:
        """Return up to ``limit`` events after a position, and whether they are all that there were.

        The log is complete when it still holds the event at ``after`` itself; after ``0-0``, when nothing was
        ever trimmed. So a log that was trimmed too far, lost, or lost its end in a failover is never taken
        for complete, nor is a position that was made up. Fewer than ``limit`` events are the last ones. Entries
        that are not events are skipped, which is logged.

        Raises:
            ValueError: ``after`` is not a position.
        """
        position = parse_position(after)
        events: list[tuple[str, bytes]] = []
        is_complete, skipped = True, 0
        while True:
            entries, is_whole = await self._read_entries(project, position, limit)
            is_complete = is_complete and is_whole
            found = _messages(entries)
            events += found
            skipped += len(entries) - len(found)
            # Entries that were skipped are made up for: a short page means that the log ends.
            if len(entries) < limit or len(events) >= limit:
                break
            position = parse_position(entries[-1][0])
        if skipped:
            log.warning(
                "entries of a log were skipped: they are not events", project=project, entries=skipped
            )
        return LogPage(events[:limit], is_complete)

    async def _read_entries(self, project: str, after: Position, limit: int) -> tuple[_Entries, bool]:
        """Return up to ``limit`` entries after a position, and whether none is missing before them."""
        if after == START:
            # There is no event at the start: that nothing was trimmed off the log is what proves it.
            entries, is_whole, _ = await self._read_with_state(project, after, limit)
            return entries, is_whole
        # The event at the position is read too: it proves, in the same step, that nothing is missing.
        found: Any = await self._redis.xrange(log_key(project), min=format_position(after), count=limit + 1)
        return _entries_after(after, found, limit)

    async def _read_with_state(
        self, project: str, after: Position, limit: int
    ) -> tuple[_Entries, bool, LogState]:
        """Return what :meth:`_read_entries` does, and where the log stood at that very moment."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.xrange(log_key(project), min=format_position(after), count=limit + 1)
            pipeline.xinfo_stream(log_key(project))
            found, info = await pipeline.execute(raise_on_error=False)
        if isinstance(found, Exception):
            raise found
        state = _state_without_log(info) if isinstance(info, ResponseError) else _log_state(info)
        entries, is_whole = _entries_after(after, found, limit)
        # Servers before Redis 7 do not count; their logs are never taken for complete from the start.
        return entries, is_whole or (after == START and state.published == state.kept), state

    async def ping(self) -> float:
        """Return how long Redis takes to answer, in seconds."""
        started = time.perf_counter()
        await self._redis.ping()
        return time.perf_counter() - started

    async def aclose(self) -> None:
        """Close the client."""
        await self._redis.aclose()


def _entries_after(after: Position, found: _Entries, limit: int) -> tuple[_Entries, bool]:
    """Divide what was read from a position on: up to ``limit`` entries after it, and whether it is there itself."""
    is_there = bool(found) and parse_position(found[0][0]) == after
    return found[1:] if is_there else found[:limit], is_there


def _log_state(info: dict[str, Any]) -> LogState:
    return LogState(info["last-generated-id"].decode(), info.get("entries-added"), info["length"])


def _state_without_log(error: ResponseError) -> LogState:
    """Return the state of a log that is not there; raise what is another error."""
    if "no such key" not in str(error):
        raise error
    return LogState(_ZERO, 0, 0)


def _messages(entries: _Entries) -> list[tuple[str, bytes]]:
    """Return ID and live message of each event; entries that somebody else wrote have no envelope."""
    return [
        (event_id.decode(), live_message(event_id, fields[b"e"]))
        for event_id, fields in entries
        if b"e" in fields
    ]
