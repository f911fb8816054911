"""From a live message to those who subscribed and may read it: the order of things.

Messages of a project are dealt with strictly in their order. Most pass straight through, without a task. One that
may have changed what somebody may read (a membership, a session, a label) first has the identities concerned read
again (:mod:`realtime.hub.identities`); messages behind it wait in the room's backlog meanwhile. It is then delivered
under the new roles, and to the person concerned under the former ones as well (wire specification 8.3 and 16.12).

Messages that came in together are sent together, by :meth:`Fanout.flush` (:mod:`realtime.hub.delivery`). Nothing
that is gathered outlives an ``await``, nor a change of who somebody is.
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any

import msgspec
import structlog

from realtime.bus.positions import format_position
from realtime.errors import CloseCode
from realtime.events.event import LiveMessage, decode_live
from realtime.hub.backlog import Backlog
from realtime.hub.connection import Connection
from realtime.hub.decoding import DecodedEvent, UndecodableError, decode_message
from realtime.hub.delivery import MAX_HANDED_BYTES, Delivery
from realtime.hub.frames import text_frame
from realtime.hub.identities import Identities
from realtime.hub.index import Match, Subscriber, Subscription
from realtime.hub.ledger import DELIVERED, FAILED, FILTERED, GAP, Outcome, dropped
from realtime.hub.metrics import Stats
from realtime.hub.pace import Pace
from realtime.hub.registry import Registry
from realtime.hub.revocation import announces, concerned_role, may_revoke
from realtime.hub.room import Room
from realtime.messages import encode_system

log = structlog.get_logger("realtime.hub")

TOO_FAR_AHEAD = dropped("too_far_ahead")
BACKLOG = dropped("backlog")

_EVERYTHING = b'{"identity":{"all":true,"project":true}}'
"""Says that all identities and the project's record may have changed."""


class Fanout:
    """Delivers what comes in on live channels to the connections in the rooms of a hub."""

    def __init__(
        self,
        registry: Registry,
        delivery: Delivery,
        identities: Identities,
        stats: Stats,
        *,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        loop_time: Callable[[], float],
        send_buffer_bytes: int,
    ) -> None:
        self._registry = registry
        self._delivery = delivery
        self._identities = identities
        self._spawn = spawn
        self._stats = stats
        self._ledger = stats.ledger
        self._loop_time = loop_time
        self._pace = Pace(send_buffer_bytes)

    def receive(self, project_id: str, message: bytes) -> None:
        """Take a message from a project's live channel, to be delivered with the next flush.

        It waits for messages before it that are not dealt with yet. Call :meth:`flush` before the event loop goes
        on, after as many messages as came in together.
        """
        room = self._registry.rooms.get(project_id)
        if room is None:
            return
        backlog = room.backlog
        if backlog is not None:
            backlog.append(message)
            if backlog.is_too_large:
                self._overrun(room, backlog)
        elif self._may_hand(room, message):
            pending = self._process(room, message)
            if pending is not None:
                self._begin_backlog(room, pending)
        else:
            # Let the transports write what they have before they are handed more.
            self._begin_backlog(room, None).append(message)

    def receive_foreign(self, message: bytes) -> None:
        """Take an envelope that an Appwrite container published for all projects (wire specification 9.2)."""
        try:
            project_id = decode_live(message).project
        except (msgspec.MsgspecError, RecursionError):
            # Nobody knows whose it is.
            self._ledger.receive("")
            self._ledger.settle("", dropped("undecodable"))
        else:
            self.receive(project_id, message)

    def ignored(self, project_id: str) -> None:
        """Account for a live message that was not believed, since its ID is far in the future."""
        if project_id in self._registry.rooms:
            self._ledger.receive(project_id)
            self._ledger.settle(project_id, TOO_FAR_AHEAD)

    def resuming(self, project_id: str) -> None:
        """Begin to go on after Redis was away: identities may have changed unheard.

        Events that were missed, and are received from now on, wait until all identities have been read again.
        """
        room = self._registry.rooms.get(project_id)
        if room is not None:
            # Nobody knows yet whether Redis still has what it had.
            room.expects_loss = True
            self.receive(project_id, _EVERYTHING)

    def resumed(self, project_id: str, complete: bool, missed: int | None = None) -> None:
        """Go on live after Redis was away: events may be missing. Follows :meth:`resuming`.

        Args:
            project_id: Which project's events come in again.
            complete: Whether none of its events is missing.
            missed: How many are missing, if that is known.
        """
        self._ledger.settle(project_id, GAP, missed or 0)
        room = self._registry.rooms.get(project_id)
        if room is None:
            return
        self._delivery.flush_room(room)
        room.expects_loss = not complete
        # Only now can a record that is gone be told from one that Redis lost.
        self.receive(project_id, b'{"identity":{"project":true}}')
        if complete:
            return
        self._stats.count("realtime_gaps")
        log.warning("events may be missing: the log does not reach back", project=project_id)
        notice = text_frame(encode_system("gap", "Events may be missing. Reload what you show."))
        # A copy: sending may give up a connection that does not read.
        for connection in list(room.connections):
            connection.wire.send(notice)

    def flush(self) -> None:
        """Send what was gathered from messages that came in together."""
        self._delivery.flush()
        self._pace.begin()

    async def wait_taken(self, project_id: str) -> None:
        """Wait until what a project received has been dealt with, and its clients have taken most of it.

        Whoever reads a log waits for this between portions. A client that is slow by itself is not waited for long.
        """
        await asyncio.sleep(0)
        room = self._registry.rooms.get(project_id)
        if room is not None:
            while room.backlog is not None:
                await room.backlog.is_worked_off.wait()
            await self._pace.written(room)

    def forget_unused(self) -> None:
        """Free what is kept for events like the last ones, where none have come. Call it every second or so."""
        self._delivery.forget_unused()

    # What waits.

    def _begin_backlog(self, room: Room, pending: Coroutine[Any, Any, None] | None) -> Backlog:
        room.backlog = Backlog()
        self._spawn(self._work_off(room, room.backlog, pending))
        return room.backlog

    async def _work_off(
        self, room: Room, backlog: Backlog, pending: Coroutine[Any, Any, None] | None
    ) -> None:
        """Finish one message that waits for Redis, if there is one, then those that came in behind it."""
        try:
            if pending is not None:
                await self._finish(pending)
            while backlog:
                if self._may_hand(room, backlog.first):
                    await self._finish(self._process_next(room, backlog.popleft()))
                else:
                    self.flush()
                    await asyncio.sleep(0)
                    if not backlog.is_half_full:
                        await self._pace.written(room)
        finally:
            self.flush()
            room.backlog = None
            backlog.is_worked_off.set()

    def _may_hand(self, room: Room, message: bytes) -> bool:
        """Tell whether transports take ``message`` before they have written what they have; count it if so."""
        if self._delivery.handed_bytes >= MAX_HANDED_BYTES or not self._pace.allows(room, len(message)):
            return False
        self._pace.hand(room, len(message))
        return True

    def _overrun(self, room: Room, backlog: Backlog) -> None:
        """Give up what waits, and the clients it waits for: they come back, and go on from the log."""
        log.error(
            "too much waits for identities or slow clients", project=room.project.id, bytes=backlog.size_bytes
        )
        for connection in list(room.connections):
            self._registry.end(connection, CloseCode.TRY_AGAIN_LATER, "Try again.", reason="backlog")
        positions = backlog.drop()
        self._ledger.receive(room.project.id, len(positions))
        self._ledger.settle(room.project.id, BACKLOG, len(positions))
        if positions:
            # Who returns is replayed up to here.
            room.advance(format_position(positions[-1]))
        # In place of the changes of identities that were among them; now for those who are just coming in.
        room.changes += 1
        backlog.append(_EVERYTHING)

    async def _process_next(self, room: Room, message: bytes) -> None:
        pending = self._process(room, message)
        if pending is not None:
            self._delivery.flush_room(room)
            await pending

    async def _finish(self, pending: Coroutine[Any, Any, None]) -> None:
        """Wait for ``pending``; a message that cannot be dealt with must not hold up those behind it."""
        try:
            await pending
        except Exception:
            log.exception("a live message was not processed")

    def _process(self, room: Room, message: bytes) -> Coroutine[Any, Any, None] | None:
        """Deliver ``message``; or return what has to be awaited for that, when identities must be read first."""
        try:
            live, event = decode_message(message)
        except UndecodableError as error:
            self._ledger.receive(room.project.id)
            self._ledger.settle(room.project.id, dropped(error.reason))
            log.warning("ignored a message", project=room.project.id, reason=error.reason, error=str(error))
            return None
        if event is None:
            return self._identities.changed(room, live)
        self._ledger.receive(room.project.id)
        name = event.name
        concerned = self._identities.concerned(room, live, name)
        if live.identity is not None or any(connection.identity.stored for connection in concerned):
            drops = 0 if room.backlog is None else room.backlog.drops
            return self._deliver_after_refresh(room, event, name, concerned, drops)
        self._deliver(room, event, name, concerned, _subjects(room, live, name, concerned))
        return None

    async def _deliver_after_refresh(
        self, room: Room, event: DecodedEvent, name: str, concerned: list[Connection], drops: int
    ) -> None:
        """Deliver an event for which identities are read first; ``drops`` is how often its backlog was given up."""
        subjects = _subjects(room, event.live, name, concerned)
        try:
            if event.live.identity is not None:
                await self._identities.changed(room, event.live)
            await self._identities.read_again(room, concerned)
        except Exception:
            log.exception("an event was not delivered", project=room.project.id, event_id=event.live.id)
            self._give_up(room, event)
        else:
            if room.backlog is None or room.backlog.drops == drops:
                self._deliver(room, event, name, [c for c in concerned if c.room is room], subjects)
            else:
                # What came behind it was given up, and those who have returned since have had both from the log.
                self._ledger.settle(room.project.id, BACKLOG)

    # Delivery.

    def _deliver(
        self,
        room: Room,
        event: DecodedEvent,
        name: str,
        concerned: list[Connection],
        subjects: Collection[str],
    ) -> None:
        """Send an event to its readers; if it announces a loss, to its ``subjects`` as former readers too."""
        try:
            self._identities.revoke_tokens(event, name, concerned)
            outcome = self._dispatch(room, event, name, subjects if may_revoke(name) else ())
        except Exception:
            log.exception("an event was not delivered", project=room.project.id, event_id=event.live.id)
            self._give_up(room, event)
        else:
            self._ledger.settle(room.project.id, outcome)

    def _give_up(self, room: Room, event: DecodedEvent) -> None:
        """Go on with the next event after an error that nobody expected."""
        self._delivery.pass_over(room, event)
        self._ledger.settle(room.project.id, FAILED)

    def _dispatch(self, room: Room, event: DecodedEvent, name: str, subjects: Collection[str]) -> Outcome:
        """Find out who is to get an event, and let them get it with the next flush."""
        match = room.index.find(event.parts.channels, event.roles, event.payload)
        for subject in subjects:
            match = self._with_former(match, room, subject, event, name)
        if match.miss is not None:
            self._delivery.pass_over(room, event)
            return FILTERED[match.miss]
        self._delivery.gather(room, event, match)
        return DELIVERED

    def _with_former(self, match: Match, room: Room, subject: str, event: DecodedEvent, name: str) -> Match:
        """Add to the receivers of an event that announces a loss who may read it by the roles just lost."""
        now = self._loop_time()
        lost = room.take_former(subject, now)
        if not lost:
            # The loss is still to come, or concerns nobody here.
            room.remember_announced(subject, now)
        added: dict[Subscriber, list[Subscription]] = {}
        for former in lost:
            connection = former.connection
            if connection.room is not room:
                continue
            if not announces(name, former.roles - connection.identity.roles):
                room.remember_former(subject, former)
            if connection in match.receivers:
                continue
            if not event.roles.isdisjoint(former.roles):
                subscriptions = room.index.match_one(connection, event.parts.channels, event.payload)
                if subscriptions:
                    added[connection] = subscriptions
        return Match({**match.receivers, **added}, None) if added else match


def _subjects(room: Room, live: LiveMessage, name: str, concerned: list[Connection]) -> set[str]:
    """Return the IDs of the users whom an event concerns, before it changes who they are, or after."""
    named = {live.user_id or ""} | {connection.identity.user_id for connection in concerned}
    # Seldom: nobody's loss waits to be told.
    lost = room.losers_of(concerned_role(name)) if room.former else set()
    return (named | lost) - {""}
