"""The connections of one project on one hub, and where in the project's stream of events they are."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from realtime.bus.positions import parse_position
from realtime.hub.backlog import Backlog
from realtime.hub.confirm import Confirmations
from realtime.hub.connection import Connection
from realtime.hub.index import SubscriptionIndex
from realtime.identity.model import Identity, Project

FORMER_LIFETIME_S = 5.0
"""How long the announcement of a lost role may lag behind the loss itself and still reach the person."""


@dataclass(slots=True)
class Former:
    """Roles that a connection lost a moment ago."""

    connection: Connection
    roles: frozenset[str]
    until: float
    """Event loop time, in seconds, after which this is forgotten."""


class Room:
    """What one hub knows of one project while it has connections for it. Used from the event loop only."""

    __slots__ = (
        "announced",
        "backlog",
        "changed",
        "changes",
        "confirmations",
        "connections",
        "expects_loss",
        "floor",
        "former",
        "idle_since",
        "index",
        "is_deleted",
        "is_watched",
        "pins",
        "position",
        "project",
        "users",
        "waiting",
    )

    def __init__(self, project: Project) -> None:
        # The project's record, kept current by the change messages on its live channel.
        self.project = project
        # Whether the record is gone: nobody may come in any more.
        self.is_deleted = False
        # Whether Redis came back without some of what it had: a missing record was not deleted by anybody then.
        self.expects_loss = False
        # Whether every event from now on is heard; until then nobody may rely on this room.
        self.is_watched = False
        # Who subscribed to what, and may read what.
        self.index = SubscriptionIndex()
        # Every greeted connection, in the order of arrival.
        self.connections: dict[Connection, None] = {}
        # User ID -> the connections that act as that user, or that this user acts on as somebody else.
        self.users: dict[str, dict[Connection, None]] = {}
        # User ID -> roles just lost, until the event that announces the loss has been delivered.
        self.former: dict[str, list[Former]] = {}
        # User ID -> event loop time until which a loss counts as announced: the event came before the loss.
        self.announced: dict[str, float] = {}
        # User ID -> event loop time until which an event announces a change that came before it.
        self.changed: dict[str, float] = {}
        # The ID of the last event that was dealt with, or the log's end when the hub began to listen.
        self.position = "0-0"
        # Position -> who waits until the room has got there.
        self.waiting: dict[str, asyncio.Future[None]] = {}
        # Up to where everybody has confirmed everything, as Redis knows it; empty if it is to be told again.
        self.floor = ""
        # What its connections are known to have received; None if nobody keeps track of that.
        self.confirmations: Confirmations[Connection] | None = None
        # Live messages that wait for one before them; None while nothing is under way.
        self.backlog: Backlog | None = None
        # Counts identity changes, so that a connection that opens can tell whether what it read is stale.
        self.changes = 0
        # Connections that are opening: they keep the room alive.
        self.pins = 0
        # When the last connection left, in event loop time; None while there is one.
        self.idle_since: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no connection needs this room."""
        return not self.connections and not self.pins

    def advance(self, event_id: str) -> None:
        """Note that an event has been dealt with: everybody who is to get it has been sent it."""
        self.position = event_id
        if self.waiting:
            here = parse_position(event_id)
            for position in [each for each in self.waiting if parse_position(each) <= here]:
                self.waiting.pop(position).set_result(None)

    def sent(self, receivers: Mapping[Connection, object]) -> None:
        """Note who was sent something that is not confirmed yet; before :meth:`advance`."""
        if self.confirmations is not None:
            self.confirmations.sent(receivers)

    async def reached(self, position: str) -> None:
        """Wait until everything up to ``position`` has been dealt with."""
        if parse_position(position) > parse_position(self.position):
            future = self.waiting.get(position)
            if future is None:
                future = self.waiting[position] = asyncio.get_running_loop().create_future()
            await asyncio.shield(future)

    def link(self, connection: Connection) -> None:
        """Remember whose changes concern ``connection``: the user it acts as, and who impersonates them."""
        for user_id in _whose(connection.identity):
            self.users.setdefault(user_id, {})[connection] = None

    def unlink(self, connection: Connection) -> None:
        """Forget what :meth:`link` remembered, before the identity of ``connection`` changes."""
        for user_id in _whose(connection.identity):
            linked = self.users[user_id]
            del linked[connection]
            if not linked:
                del self.users[user_id]

    def remember_former(self, user_id: str, former: Former) -> None:
        """Keep the roles that a connection of ``user_id`` just lost, for the event that announces it."""
        self.former.setdefault(user_id, []).append(former)

    def take_former(self, user_id: str, now: float) -> list[Former]:
        """Return and forget the roles that connections of ``user_id`` lost lately; ``now`` is event loop time."""
        return [former for former in self.former.pop(user_id, ()) if former.until >= now]

    def losers_of(self, role: str) -> set[str]:
        """Return the IDs of the users who lost ``role`` lately, and have not been told yet; of nobody for ""."""
        return {
            user_id for user_id, lost in self.former.items() if any(role in former.roles for former in lost)
        }

    def remember_announced(self, user_id: str, now: float) -> None:
        """Remember that a loss of ``user_id`` was announced before it happened; ``now`` is event loop time.

        An event that follows a change announces nothing that is still to come: its publisher changes first.
        """
        if user_id in self.users and self.changed.get(user_id, now) <= now:
            self.announced[user_id] = now + FORMER_LIFETIME_S

    def settle_announced(self, user_id: str, now: float) -> None:
        """Note that ``user_id`` has changed; and forget what they lost if that was announced before."""
        is_announced = self.announced.get(user_id, now) > now
        if is_announced and user_id in self.former:
            del self.announced[user_id], self.former[user_id]
        elif not is_announced and user_id in self.users:
            self.changed[user_id] = now + FORMER_LIFETIME_S

    def forget_former(self, now: float) -> None:
        """Forget lost roles, announcements and changes whose time is up; ``now`` is event loop time."""
        for user_id in [user for user, lost in self.former.items() if lost[-1].until < now]:
            del self.former[user_id]
        for noted in (self.announced, self.changed):
            for user_id in [user for user, until in noted.items() if until < now]:
                del noted[user_id]


def _whose(identity: Identity) -> set[str]:
    """Return the users of this project whose changes concern ``identity``.

    A user of another project, the console, is none of them, whatever their ID.
    """
    return set() if identity.home else {identity.user_id, identity.actor_id} - {""}
