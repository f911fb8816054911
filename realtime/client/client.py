"""The client: one connection at a time for all subscriptions, and the way back when it is lost."""

import asyncio
import contextlib
import logging
import random
import ssl as ssl_module
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any

from realtime.bus.positions import START
from realtime.client.connection import Connection, Timeouts
from realtime.client.errors import ConnectionLostError, RefusedError, UnreachableError
from realtime.client.frames import (
    Event,
    Response,
    System,
    batches,
    position_of,
    realtime_url,
    token_expiry,
)
from realtime.client.presence import OwnPresence
from realtime.client.schedule import Backoff
from realtime.client.subscription import Gap, GapHook, GapReason, Subscription

_logger = logging.getLogger("realtime.client")

TokenSource = Callable[[], Awaitable[str]]
"""Returns a fresh JWT each time it is called."""

_STABLE_S = 10.0
"""A connection that lived for so long was a good one: the back-off starts anew after it."""

_RENEW_EARLY_S = 30.0
"""How long before its end a token is replaced on an open connection."""

# A resubscription stays well below the hub's limits for one message (wire specification 1.3).
_BATCH_ITEMS = 50
_BATCH_BYTES = 48_000


class RealtimeClient:
    """Subscriptions to the events of one project, over one WebSocket.

    Args:
        endpoint: the API endpoint that the SDKs are given, ``http://localhost:8080/v1``; ``https``, ``ws``
            and ``wss`` work too.
        project: the project's ID.
        session: a session of a user, in its encoded form (wire specification 2.4).
        jwt: a JSON Web Token, or an async callable that returns a fresh one. The callable is asked before
            every connection, and 30 s before the token's ``exp`` on an open one, which then goes on under the
            new token.
        key: an API key of the project: a server-side connection, which reads every event that the key's
            scopes name (wire specification 16.7).
        queue_size: how many events may wait for the reader of one subscription; see :class:`Subscription`.
        backoff: the delays before reconnecting.
        timeouts: how long to wait for the hub.
        ssl: for ``wss`` with a certificate of one's own.

    Use it as an async context manager. Entering makes the first connection, which must succeed. A connection
    that is lost later is made again, for as long as the context lasts, with jittered exponential back-off;
    all subscriptions are then taken up again under the same IDs, each from the last event it got (wire
    specification 16.4), so that their readers notice a delay and nothing else. Only close code 1008 ends
    that: every iterator then raises :class:`RefusedError`.

    Changing subscriptions never opens a connection. Each change is one message, of which a hub accepts
    32 a minute (wire specification 4.1). The client belongs to one event loop; its methods may be called from
    any number of tasks there.
    """

    def __init__(
        self,
        endpoint: str,
        project: str,
        *,
        session: str | None = None,
        jwt: str | TokenSource | None = None,
        key: str | None = None,
        queue_size: int = 1000,
        backoff: Backoff | None = None,
        timeouts: Timeouts | None = None,
        ssl: ssl_module.SSLContext | None = None,
    ) -> None:
        if sum(credential is not None for credential in (session, jwt, key)) > 1:
            raise ValueError("give one of session, jwt and key")
        if queue_size < 1:
            raise ValueError("queue_size must be at least 1")
        self._url = realtime_url(endpoint, project)
        self._project = project
        self._session = session
        self._jwt = jwt
        self._key = key
        self._queue_size = queue_size
        self._backoff = backoff or Backoff()
        self._timeouts = timeouts or Timeouts()
        self._ssl = ssl
        self._subscriptions: dict[str, Subscription] = {}
        self._presence = OwnPresence()
        # None while there is no usable connection; subscriptions made then wait for the next one.
        self._connection: Connection | None = None
        self._running: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._token = ""
        self._user: dict[str, Any] | None = None
        self._position = ""
        # Subscriptions whose readers have to take something before more is read from the hub.
        self._full: list[Subscription] = []
        # What a draining hub asked for, in seconds; used once, instead of the back-off.
        self._retry_after_s: float | None = None

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection at this moment."""
        return self._connection is not None

    @property
    def user(self) -> dict[str, Any] | None:
        """The account the hub took the client for, at the last connection; None for guests and API keys."""
        return self._user

    @property
    def position(self) -> str:
        """The newest position in the project's log that the client knows; empty if the hub keeps none."""
        return self._position

    def subscribe(
        self,
        channels: str | Sequence[str],
        queries: Sequence[str] = (),
        *,
        since: str = "",
        on_gap: GapHook | None = None,
    ) -> Subscription:
        """Return a subscription to ``channels``; nothing is sent before it is entered or iterated.

        To lose nothing while your own program restarts, store a position and start from it::

            async with client.subscribe(channels, since=stored) as events:
                store(events.since)
                async for event in events:
                    process(event)
                    store(event.id)

        Args:
            channels: channel names such as ``databases.main.tables.posts.rows``, also with ``*`` for an ID.
            queries: filters on the payload, as JSON strings (wire specification 6); all of them must match.
            since: a position in the project's log, such as the ``id`` of the last event that was dealt with:
                what came after it is delivered first. Empty for live events only. If the log no longer reaches
                back so far, ``recovered`` of the subscription is False, and there is a :class:`Gap`.
            on_gap: called where events may be missing; see :class:`Subscription`.

        Raises:
            ValueError: ``since`` is not a position.
        """
        names = (channels,) if isinstance(channels, str) else tuple(channels)
        return Subscription(
            self,
            f"s{uuid.uuid4().hex}",
            names,
            queries,
            since=since,
            queue_size=self._queue_size,
            on_gap=on_gap,
        )

    async def set_presence(
        self,
        status: str,
        *,
        metadata: object = None,
        permissions: Sequence[str] | None = None,
        presence_id: str = "",
    ) -> dict[str, Any]:
        """Let others see that the client's user is there; return the presence as they are shown it.

        It lasts as long as the client: until the context ends, it is set again on every connection. Waits until the hub
        has confirmed it, over reconnects if need be, and for as long as the hub refuses it for the time being, as it
        does with more than 32 messages a minute. One that was not confirmed yet gives way to a newer one. Cancelling
        stops the wait only.

        Args:
            status: 1 to 255 characters, such as ``online``.
            metadata: what else there is to see, any JSON value.
            permissions: who may see it, ``read("team:red")``, out of the user's own roles; None for the user alone.
            presence_id: the ID of a user's first presence; empty for one that the hub makes.

        Raises:
            RefusedError: the hub refused it for a reason that stays, or the client for good. Nothing is set again.
            ConnectionLostError: the client was closed first.
        """
        if self._running is None or self._running.done():
            raise self._failure or RuntimeError("the client is not open: async with RealtimeClient(...)")
        data: dict[str, Any] = {"status": status, "metadata": metadata}
        if permissions is not None:
            data["permissions"] = list(permissions)
        if presence_id:
            data["presenceId"] = presence_id
        return await asyncio.shield(self._presence.set(data))

    async def __aenter__(self) -> "RealtimeClient":
        """Make the first connection.

        Raises:
            RefusedError: the hub refused it; the project, the credential or the origin is wrong.
            UnreachableError: there is no hub, or the token source failed.
        """
        if self._running is not None:
            raise RuntimeError("the client is open already")
        connection = await self._connect()
        self._running = asyncio.create_task(self._run(connection), name=f"realtime-client-{self._project}")
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._running is None:
            return
        self._running.cancel()
        await asyncio.wait([self._running])

    # Subscriptions.

    async def open_subscription(self, subscription: Subscription) -> None:
        """Register a subscription and wait until the hub has confirmed it, over reconnects if need be.

        Called by ``Subscription.__aenter__``. Cancelling forgets the subscription.

        Raises:
            RefusedError: the hub refused it (a bad channel or query, a limit), or the client for good.
        """
        if self._running is None or self._running.done():
            raise self._failure or RuntimeError("the client is not open: async with RealtimeClient(...)")
        confirmed = subscription.begin()
        self._subscriptions[subscription.id] = subscription
        try:
            if self._connection is not None:
                # A connection lost meanwhile is no failure: the next one takes the subscription along.
                with contextlib.suppress(ConnectionLostError):
                    await self._register(self._connection, [subscription])
            await confirmed
        except BaseException:
            # If the hub has confirmed it by now, its events are for nobody, until the connection ends.
            self._subscriptions.pop(subscription.id, None)
            confirmed.cancel()
            subscription.end()
            raise

    async def close_subscription(self, subscription: Subscription) -> None:
        """Remove a subscription, here and at the hub. Called by ``Subscription.__aexit__``."""
        self._subscriptions.pop(subscription.id, None)
        subscription.end()
        if self._connection is not None:
            # A lost connection has taken the subscription with it; one that the hub will not remove sends
            # events that nobody takes here.
            with contextlib.suppress(ConnectionLostError, RefusedError):
                await self._connection.request("unsubscribe", [{"subscriptionId": subscription.id}])

    async def _register(self, connection: Connection, subscriptions: Sequence[Subscription]) -> None:
        by_id = {subscription.id: subscription for subscription in subscriptions}

        def confirm(response: Response) -> None:
            # An older hub tells its position only with ``connected``: early, but never too late.
            position = response.position or connection.position
            for item in response.subscriptions:
                if item.subscription_id in by_id:
                    by_id[item.subscription_id].confirm(item, position)

        items = [subscription.item() for subscription in subscriptions]
        await connection.request("subscribe", items, confirm)

    # Connections, one after the other.

    async def _run(self, connection: Connection) -> None:
        attempt = 0
        try:
            while True:
                began = time.monotonic()
                await self._serve(connection)
                connection.raise_if_refused()
                attempt = 0 if time.monotonic() - began > _STABLE_S else attempt
                connection, attempt = await self._reconnect(attempt)
        except RefusedError as refusal:
            self._failure = refusal
        except Exception as error:
            # Nobody awaits this task while the client lives: whoever reads a subscription must learn of it.
            _logger.exception("the client failed")
            self._failure = error
        finally:
            self._connection = None
            for subscription in self._subscriptions.values():
                subscription.end(self._failure)
            if self._failure is None:
                self._presence.fail(ConnectionLostError("the client was closed"))
            else:
                self._presence.fail(self._failure)
            await connection.close()

    async def _serve(self, connection: Connection) -> None:
        """Use a connection until it is lost."""
        self._connection = connection
        async with asyncio.TaskGroup() as tasks:
            upkeep = tasks.create_task(self._keep_up(connection, list(self._subscriptions.values())))
            try:
                await connection.receive(self._until_read)
            finally:
                self._connection = None
                upkeep.cancel()

    async def _reconnect(self, attempt: int) -> tuple[Connection, int]:
        while True:
            delay_s = self._backoff.delay_s(attempt, random.random())  # noqa: S311  (spreads load, guards nothing)
            if self._retry_after_s is not None:
                delay_s, self._retry_after_s = self._retry_after_s, None
            attempt += 1
            _logger.info("connection lost; attempt %d to reconnect in %.1f s", attempt, delay_s)
            await asyncio.sleep(delay_s)
            try:
                return await self._connect(), attempt
            except (UnreachableError, RefusedError) as error:
                if not error.retryable:
                    raise
                _logger.info("cannot reconnect: %s", error)

    async def _connect(self) -> Connection:
        headers = {"X-Appwrite-Project": self._project}
        if self._session is not None:
            headers["X-Appwrite-Session"] = self._session
        if self._key is not None:
            headers["X-Appwrite-Key"] = self._key
        if self._jwt is not None:
            self._token = self._jwt if isinstance(self._jwt, str) else await _fresh_token(self._jwt)
            headers["X-Appwrite-JWT"] = self._token
        connection = await Connection.open(
            self._url,
            headers,
            on_event=self._deliver,
            on_system=self._note,
            timeouts=self._timeouts,
            ssl=self._ssl,
        )
        self._user = connection.user
        self._position = connection.position or self._position
        return connection

    async def _keep_up(self, connection: Connection, subscriptions: Sequence[Subscription]) -> None:
        """Set the presence and take the subscriptions up again; then keep token and positions fresh until the end."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._presence.keep_sent(connection, self._backoff))
                await self._take_all_up(connection, subscriptions)
                tasks.create_task(self._renew(connection))
                tasks.create_task(self._follow(connection))
        except* (ConnectionLostError, RefusedError, UnreachableError) as errors:
            # A new handshake decides: it raises what is final, and backs off from what is not.
            _logger.info("the connection is given up: %s", errors.exceptions[0])
            await connection.close()

    async def _take_all_up(self, connection: Connection, subscriptions: Sequence[Subscription]) -> None:
        by_id = {subscription.id: subscription for subscription in subscriptions}
        items = [subscription.item() for subscription in subscriptions]
        for batch in batches(items, max_items=_BATCH_ITEMS, max_bytes=_BATCH_BYTES):
            ids = [str(item["subscriptionId"]) for item in batch]
            # Those that were closed while the batch before was on its way stay away.
            if wanted := [by_id[id_] for id_ in ids if id_ in self._subscriptions]:
                await self._take_up(connection, wanted)

    async def _take_up(self, connection: Connection, subscriptions: Sequence[Subscription]) -> None:
        try:
            await self._register(connection, subscriptions)
        except RefusedError as refusal:
            if refusal.retryable or connection.is_refused:
                raise
            # The hub refuses a batch as a whole; one by one, only the culprit ends.
            if len(subscriptions) > 1:
                for subscription in subscriptions:
                    await self._take_up(connection, [subscription])
                return
            subscriptions[0].end(refusal)
            self._subscriptions.pop(subscriptions[0].id, None)

    async def _renew(self, connection: Connection) -> None:
        if self._jwt is None or isinstance(self._jwt, str):
            return
        while (expires_at := token_expiry(self._token)) is not None:
            # At least a second: a source that hands out stale tokens must not become a busy loop.
            await asyncio.sleep(max(1.0, expires_at - time.time() - _RENEW_EARLY_S))
            self._token = await _fresh_token(self._jwt)
            response = await connection.request("authentication", {"jwt": self._token})
            self._user = response.user

    async def _follow(self, connection: Connection) -> None:
        """Ask for the log's position now and then, for subscriptions that get no events of their own.

        The hub drops the oldest events of its log. A subscription that came back to a position among those would
        be told of a gap, though nothing that was for it is missing.
        """

        def reach(response: Response) -> None:
            for subscription in self._subscriptions.values():
                subscription.reach(response.position)

        while True:
            await asyncio.sleep(self._timeouts.position_s)
            if self._subscriptions:
                # Refused where the user sends too many messages: then another time.
                with contextlib.suppress(RefusedError):
                    await connection.request("subscribe", [], reach)

    # Frames that nobody asked for.

    def _deliver(self, event: Event) -> None:
        # What is replayed to one subscription may be older than what another one got.
        if (position_of(event.id) or START) > (position_of(self._position) or START):
            self._position = event.id
        for subscription_id in event.subscriptions:
            # Absent when it was closed while the event was on its way.
            if (subscription := self._subscriptions.get(subscription_id)) is not None:
                subscription.push(event)
                if subscription.is_full:
                    self._full.append(subscription)

    async def _until_read(self) -> None:
        """Wait until readers who catch up have room for what comes next."""
        while self._full:
            await self._full.pop().make_room(self._timeouts.stall_s)

    def _note(self, system: System) -> None:
        if system.code == "gap":
            for subscription in self._subscriptions.values():
                subscription.push(Gap(GapReason.HUB))
        elif system.code == "draining" and system.retry_after_ms is not None:
            self._retry_after_s = system.retry_after_ms / 1000
        _logger.info("the hub says %s: %s", system.code, system.message)


async def _fresh_token(source: TokenSource) -> str:
    try:
        return await source()
    except Exception as error:
        # Whatever it raises, the token is not to be had now: a failed attempt like any other.
        raise UnreachableError(f"the token source failed: {error}") from error
