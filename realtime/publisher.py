"""Publishing events from your own code: a name and a payload in, an event with its readers out.

::

    async with Publisher("demo") as publisher:
        await publisher.publish("databases.main.tables.posts.rows.42.create", row)

:class:`Publisher` is for asyncio, :class:`SyncPublisher` for everything else. What an event's names, channels and
readers are is decided in :mod:`realtime.events`; here it is sent, and sent again while Redis is away. Sources: wire
specification 9.2 and 16.11.
"""

import asyncio
import concurrent.futures
import random
import secrets
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from redis.exceptions import (
    AuthenticationError,
    ClusterDownError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from realtime.bus import RedisBus
from realtime.bus.backoff import backoff_s
from realtime.bus.work import WorkFullError
from realtime.errors import InvalidEventError, NotPublishedError, TooMuchWaitsError
from realtime.events.event import Event, Prepared, prepare
from realtime.settings import Settings

_PASSING = (
    RedisConnectionError,
    RedisTimeoutError,
    ReadOnlyError,
    ClusterDownError,
    TryAgainError,
    WorkFullError,
)
"""What a restart or a failover looks like from outside; and what workers make room for."""
_NOT_CONFIRMED = (
    "Redis did not confirm that the event was published: it may or may not have been. Repeat with the same "
    "idempotency key."
)
_RETRY_KEY_MARGIN_S = 30.0
"""For how long after the last retry its key is kept: longer than one attempt may take."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Published:
    """An event that was published."""

    id: str
    """Its position in the project's log, which clients get with it."""
    events: list[str]
    """Every name of it; the first has no wildcard."""
    channels: list[str]
    """Every channel it was sent to."""
    roles: list[str]
    """Who may read it; empty when nobody but API keys, webhooks and functions may."""


class Publisher:
    """Publishes the events of one project. For asyncio; may be shared by tasks of one event loop.

    While Redis is away, a call tries again until ``retry_s`` have passed. An attempt whose answer was lost may have
    got through; the next one does not publish again what did.

    Args:
        project: The project's ID.
        redis_url: Where Redis is; None for ``REALTIME_REDIS_URL``, or else the embedded server of
            ``REALTIME_DATA_DIR``, which ``realtime dev`` runs.
        bus: A bus to use instead; it stays the caller's to close.
        retry_s: How long to try, in seconds; 0 tries once, None takes ``REALTIME_PUBLISH_RETRY_S``.
        project_team: The console team that owns the project, if it is watched from a console.
    """

    def __init__(
        self,
        project: str,
        *,
        redis_url: str | None = None,
        bus: RedisBus | None = None,
        retry_s: float | None = None,
        project_team: str = "",
    ) -> None:
        self._project = project
        self._project_team = project_team
        self._owned_bus: RedisBus | None = None
        if bus is None:
            settings = Settings() if redis_url is None else Settings(redis_url=redis_url)
            bus = self._owned_bus = RedisBus.from_settings(settings)
        self._bus = bus
        self._retry_s = Settings().publish_retry_s if retry_s is None else retry_s

    async def publish(
        self,
        name: str,
        payload: Mapping[str, Any] | bytes,
        *,
        params: Mapping[str, str] | None = None,
        permissions: Sequence[str] | None = None,
        roles: Sequence[str] | None = None,
        database_type: str | None = None,
        user_id: str | None = None,
        actor_id: str = "",
        timestamp: str | None = None,
        idempotency_key: str | None = None,
    ) -> Published:
        """Publish one event.

        Args:
            name: Its name, ``teams.red.create``; or a pattern, ``teams.[teamId].create``, with ``params``.
            payload: The resource; bytes are a JSON object and go out as they are.
            params: The IDs for a pattern.
            permissions: Permissions of everything that decides who reads it, ``read("user:ann")``; None for those
                of the payload (``$permissions``).
            roles: Who may read it, ``user:ann``, if you know better than by permissions.
            database_type: ``legacy``, ``tablesdb``, ``documentsdb`` or ``vectorsdb``, for events in the words of
                ``databases``.
            user_id: The user it is about; None for what the name says.
            actor_id: The user who did it, whom webhooks and functions are told of; empty for nobody.
            timestamp: When it happened, ISO 8601; None for now.
            idempotency_key: Any text that stands for this event: publishing again under it does nothing, and
                returns the first event's ID.

        Raises:
            InvalidEventError, InvalidPermissionError: Something in the arguments is wrong; nothing was sent.
            NotPublishedError: Redis did not confirm for as long as was tried: the event may or may not have been
                published. With an idempotency key, publishing again is safe.
            TooMuchWaitsError: It was not published, for as long as was tried, since too many events wait for webhooks
                or functions.
        """
        event = Event(
            name=name,
            payload=payload,
            params=params,
            permissions=permissions,
            roles=roles,
            database_type=database_type,
            user_id=user_id,
            actor_id=actor_id,
            timestamp=timestamp,
        )
        return (await self.publish_many([event], idempotency_key=idempotency_key))[0]

    async def publish_many(
        self, events: Sequence[Event], *, idempotency_key: str | None = None
    ) -> list[Published]:
        """Publish several events in one atomic step: all or none, in this order, with nothing in between.

        What goes to the console beside the project (see :func:`realtime.events.event.prepare`) is a step of its
        own, after the project's.

        Raises:
            InvalidEventError, InvalidPermissionError: One of the events is wrong; none was sent. Or the idempotency
                key was used for another number of events.
            NotPublishedError, TooMuchWaitsError: As for :meth:`publish`.
        """
        now = datetime.now(UTC)
        prepared = [
            prepare(event, self._project, now=now, project_team=self._project_team) for event in events
        ]
        # The project's own batch is the first, since `prepare` names the project first.
        batches: dict[str, list[Prepared]] = {}
        for target in (target for targets in prepared for target in targets):
            batches.setdefault(target.project, []).append(target)
        ids = {
            project: await self._send(project, batch, idempotency_key) for project, batch in batches.items()
        }
        return [
            Published(event_id, own.events, own.channels, own.roles)
            for event_id, own in zip(ids.get(self._project, ()), batches.get(self._project, ()), strict=True)
        ]

    async def aclose(self) -> None:
        """Close the connections to Redis that are the publisher's own."""
        if self._owned_bus is not None:
            await self._owned_bus.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _send(self, project: str, batch: list[Prepared], key: str | None) -> list[str]:
        """Publish to one project, until it is done or the time for retries is over; return the IDs."""
        ttl_s = None
        if key is None and self._retry_s > 0:
            # Tells a retry whether the attempt before it got through. Short-lived: it is one for each event.
            key, ttl_s = secrets.token_hex(16), self._retry_s + _RETRY_KEY_MARGIN_S
        records = [prepared.record for prepared in batch]
        deadline = time.monotonic() + self._retry_s
        attempt = 0
        while True:
            try:
                ids = await self._bus.publish(project, records, idempotency_key=key, idempotency_ttl_s=ttl_s)
            except RedisError as error:
                pause_s = backoff_s(attempt, random.random())  # noqa: S311 - not a secret
                is_passing = isinstance(error, _PASSING) and not isinstance(error, AuthenticationError)
                if not is_passing or time.monotonic() + pause_s > deadline:
                    if isinstance(error, WorkFullError):
                        raise TooMuchWaitsError(str(error)) from error
                    raise NotPublishedError(f"{_NOT_CONFIRMED} {error}") from error
            else:
                break
            await asyncio.sleep(pause_s)
            attempt += 1
        if len(ids) != len(batch):
            raise InvalidEventError("The idempotency key was used before, for another number of events.")
        return ids


class SyncPublisher:
    """A :class:`Publisher` for code without asyncio. May be shared by threads.

    The work is done in a thread of its own, started by the first call: in a server that forks, publish after the
    fork. The arguments and errors are those of :class:`Publisher`.
    """

    def __init__(
        self,
        project: str,
        *,
        redis_url: str | None = None,
        retry_s: float | None = None,
        project_team: str = "",
    ) -> None:
        self._publisher = Publisher(project, redis_url=redis_url, retry_s=retry_s, project_team=project_team)
        self._lock = threading.Lock()
        # The thread's event loop; None before the first call.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def publish(
        self,
        name: str,
        payload: Mapping[str, Any] | bytes,
        *,
        params: Mapping[str, str] | None = None,
        permissions: Sequence[str] | None = None,
        roles: Sequence[str] | None = None,
        database_type: str | None = None,
        user_id: str | None = None,
        actor_id: str = "",
        timestamp: str | None = None,
        idempotency_key: str | None = None,
    ) -> Published:
        """Publish one event, as :meth:`Publisher.publish` does."""
        return self._run(
            self._publisher.publish(
                name,
                payload,
                params=params,
                permissions=permissions,
                roles=roles,
                database_type=database_type,
                user_id=user_id,
                actor_id=actor_id,
                timestamp=timestamp,
                idempotency_key=idempotency_key,
            )
        )

    def publish_many(self, events: Sequence[Event], *, idempotency_key: str | None = None) -> list[Published]:
        """Publish several events in one atomic step, as :meth:`Publisher.publish_many` does."""
        return self._run(self._publisher.publish_many(events, idempotency_key=idempotency_key))

    def close(self) -> None:
        """Close the connections and end the thread; calls that still try are cancelled. Idempotent."""
        with self._lock:
            self._is_closed = True
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is not None and thread is not None:
            asyncio.run_coroutine_threadsafe(self._end(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        future = self._submit(work)
        try:
            return future.result()
        finally:
            # After Ctrl+C in this thread the other one must not go on trying.
            future.cancel()

    def _submit(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        with self._lock:
            if self._is_closed:
                work.close()
                raise RuntimeError("The publisher is closed.")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="realtime-publisher", daemon=True
                )
                self._thread.start()
            # Under the lock, so that whatever is submitted is there to be cancelled when close() comes.
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _end(self) -> None:
        unfinished = asyncio.all_tasks() - {asyncio.current_task()}
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        await self._publisher.aclose()
