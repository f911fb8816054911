"""Who receives an event: the subscriptions and roles of one project's connections, arranged for matching.

The heart of the hub, and pure. A connection receives an event if it holds one of the event's roles and one of
its subscriptions names one of the event's channels with a filter that accepts the payload (wire specification
8.2). :meth:`SubscriptionIndex.find` works from the smaller side: it looks either at the subscriptions on the
event's channels or at the connections with the event's roles, whichever are fewer, and tests the other
condition on each. So its cost grows with those, and never with all subscriptions or all connections.

Channels with ``*`` in ID positions (16.9) cost an event one dictionary lookup for each shape of them in use,
however many there are: the event's own channel is turned into the one name of that shape that covers it.

Consecutive events mostly have the same receivers, so the last answer is kept until something changes.

Measured by ``benchmarks/matching.py``.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Any

import msgspec

from realtime.channels import Shape, is_wildcard, shape_of, star
from realtime.hub.groups import Groups
from realtime.messages import EVENT_SUFFIX
from realtime.permissions import ANY
from realtime.queries import Filter, PayloadView

_HOLDER_COST = 3
"""Finding a role's holder costs as much time as looking at so many subscriptions; its own come on top."""


class Subscription:
    """Channels that a connection listens to under one ID; made and changed by :class:`SubscriptionIndex`."""

    __slots__ = ("channels", "ending", "id", "since", "subscriber")

    def __init__(self, subscriber: "Subscriber", subscription_id: str) -> None:
        # As the client knows it; unique within its connection.
        self.id = subscription_id
        # How an event frame ends that only this subscription matches (benchmarks/fanout.py).
        self.ending = msgspec.json.encode(subscription_id) + EVENT_SUFFIX
        # Whose it is.
        self.subscriber = subscriber
        # Channel -> which of its events pass; None lets every event pass.
        self.channels: dict[str, Filter | None] = {}
        # How it returns when its connection is lost (realtime.hub.resumption): not at all (None), from where its
        # connection is known to be (empty), or from this position, since what was replayed is not confirmed yet.
        self.since: str | None = None

    def __repr__(self) -> str:
        return f"<Subscription {self.id!r} to {list(self.channels)}>"


class Subscriber:
    """Whoever holds roles and subscriptions: the base class of the hub's connections.

    While it is in an index both attributes are changed through the index only. Equality must stay identity.
    """

    __slots__ = ("roles", "subscriptions")

    def __init__(self, roles: frozenset[str] = frozenset()) -> None:
        # What it may read (wire specification 8.1).
        self.roles = roles
        # Subscription ID -> subscription, in the order they were made.
        self.subscriptions: dict[str, Subscription] = {}

    @property
    def query_cost(self) -> int:
        """What its distinct filters cost an event together (:attr:`Filter.cost`); walks over all channels."""
        held = {query for each in self.subscriptions.values() for query in each.channels.values()}
        return sum([query.cost for query in held if query is not None])


class Miss(StrEnum):
    """Why nobody receives an event."""

    NO_SUBSCRIBER = "no_subscriber"
    """No subscription is on any of its channels."""
    NO_PERMISSION = "no_permission"
    """None of those who subscribed to them holds one of its roles."""
    QUERY = "query"
    """The filters of all who subscribed to them, and may read it, let it not pass."""


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """Who receives an event. Two events with one and the same object here have the same receivers."""

    receivers: Mapping[Subscriber, list[Subscription]]
    """Each with those of its subscriptions that match, each once and at least one. Not to be changed."""
    miss: Miss | None
    """Why there are none; None if there are some."""


_NOBODY = Match({}, Miss.NO_SUBSCRIBER)


class _Verdicts:
    """What the filters say about one event; each is asked once, and the payload is read at most once.

    They all look at it through one view, which keeps what they derive from it.
    """

    __slots__ = ("_payload", "_read_payload", "_verdicts")

    def __init__(self, read_payload: Callable[[], Mapping[str, Any]]) -> None:
        self._read_payload = read_payload
        self._payload: PayloadView | None = None
        # Equal filters are one object, so their identity is the key: it spares the hash of their content.
        self._verdicts: dict[int, bool] = {}

    @property
    def has_any(self) -> bool:
        """Whether a filter was asked: what was found may be otherwise for another payload."""
        return self._payload is not None

    def accepts(self, query: Filter) -> bool:
        """Tell whether ``query`` lets the event pass."""
        verdict = self._verdicts.get(id(query))
        if verdict is None:
            if self._payload is None:
                self._payload = PayloadView(self._read_payload())
            verdict = self._verdicts[id(query)] = query.accepts(self._payload)
        return verdict

    def select(self, subscriber: Subscriber, names: frozenset[str]) -> list[Subscription]:
        """Return those of the subscriptions on one of ``names`` whose filter for it lets the event pass."""
        selected = []
        for subscription in subscriber.subscriptions.values():
            channels = subscription.channels
            if names.isdisjoint(channels):
                continue
            for name, query in channels.items():
                if name in names and (query is None or self.accepts(query)):
                    selected.append(subscription)
                    break
        return selected


class SubscriptionIndex:
    """The subscribers of one project by role, and their subscriptions by channel.

    Not thread-safe. Results are in a fixed order: receivers in the order in which they came to the roles or
    channels that they are found by, subscriptions of a receiver in the order in which it made them. A change
    costs time in proportion to the roles or channels that it names.
    """

    __slots__ = (
        "_channels",
        "_last",
        "_last_key",
        "_last_was_used",
        "_names",
        "_roles",
        "_shapes",
        "_subscribers",
        "_subscription_count",
        "_wildcards",
    )

    def __init__(self) -> None:
        self._subscribers: set[Subscriber] = set()
        self._subscription_count = 0
        # Role -> who holds it.
        self._roles = Groups[Subscriber]()
        # Plain channel -> subscriptions with it.
        self._channels = Groups[Subscription]()
        # Channel with `*` -> subscriptions with it. Apart from the plain ones: a name such as `rows.*`
        # has the shape of `teams.*`, but stands for nothing and must not be reached by way of that shape.
        self._wildcards = Groups[Subscription]()
        # Each channel of both -> itself: one string for all who name it, instead of one from each client's
        # message. Not sys.intern(): what strangers name must go with their subscriptions.
        self._names: dict[str, str] = {}
        # Number of segments -> shape -> how many of `_wildcards` have it.
        self._shapes: dict[int, dict[Shape, int]] = {}
        # The last match, and what it depends on: the names and roles that it was found by. Forgotten with each
        # change, and not kept if a filter was asked.
        self._last: Match | None = None
        self._last_key: tuple[tuple[str, ...], frozenset[str]] = (), frozenset()
        self._last_was_used = False

    def __len__(self) -> int:
        return len(self._subscribers)

    def __contains__(self, subscriber: object) -> bool:
        return subscriber in self._subscribers

    @property
    def subscription_count(self) -> int:
        """How many subscriptions all subscribers have together."""
        return self._subscription_count

    def add(self, subscriber: Subscriber) -> None:
        """Register ``subscriber`` with the roles that it has; no effect if it is registered."""
        if subscriber not in self._subscribers:
            self._last = None
            self._subscribers.add(subscriber)
            for role in subscriber.roles:
                self._roles.add(role, subscriber)

    def remove(self, subscriber: Subscriber) -> None:
        """Forget ``subscriber`` and drop its subscriptions; no effect if it is not registered."""
        if subscriber in self._subscribers:
            self._last = None
            for subscription_id in list(subscriber.subscriptions):
                self.unsubscribe(subscriber, subscription_id)
            for role in subscriber.roles:
                self._roles.remove(role, subscriber)
            self._subscribers.remove(subscriber)

    def set_roles(self, subscriber: Subscriber, roles: frozenset[str]) -> None:
        """Replace the roles of ``subscriber``. Its subscriptions stay (wire specification 8.3).

        Raises:
            KeyError: It is not registered.
        """
        self._check_registered(subscriber)
        self._last = None
        for role in subscriber.roles - roles:
            self._roles.remove(role, subscriber)
        for role in roles - subscriber.roles:
            self._roles.add(role, subscriber)
        subscriber.roles = roles

    def subscribe(
        self,
        subscriber: Subscriber,
        subscription_id: str,
        channels: Sequence[str],
        filter: Filter | None,  # noqa: A002 - the wire format's term
    ) -> Subscription:
        """Make a subscription, or add to the one with this ID (wire specification 4.3).

        The listed channels get ``filter`` (None lets every event pass). Channels that the subscription had
        before and that are not listed remain, with the filter they had.

        Returns:
            The subscription. A new one without channels is not registered anywhere.

        Raises:
            KeyError: ``subscriber`` is not registered.
        """
        self._check_registered(subscriber)
        self._last = None
        subscription = subscriber.subscriptions.get(subscription_id)
        if subscription is None:
            subscription = Subscription(subscriber, subscription_id)
            if not channels:
                return subscription
            subscriber.subscriptions[subscription_id] = subscription
            self._subscription_count += 1
        for name in channels:
            channel = self._names.setdefault(name, name)
            if channel not in subscription.channels:
                self._attach(channel, subscription)
            subscription.channels[channel] = filter
        return subscription

    def unsubscribe(self, subscriber: Subscriber, subscription_id: str) -> bool:
        """Drop a subscription; return whether there was one with this ID (wire specification 4.4)."""
        subscription = subscriber.subscriptions.pop(subscription_id, None)
        if subscription is None:
            return False
        self._last = None
        self._subscription_count -= 1
        for channel in subscription.channels:
            self._detach(channel, subscription)
        return True

    def rebind(self, subscriber: Subscriber, rename: Callable[[str], str]) -> None:
        """Rename the channels of all subscriptions of ``subscriber`` (wire specification 5.3).

        ``rename`` returns the new name of a channel, or the same. Where two channels of a subscription get
        one name, the filter of the later one stays.
        """
        self._last = None
        for subscription in subscriber.subscriptions.values():
            before = subscription.channels
            after: dict[str, Filter | None] = {}
            for channel, query in before.items():
                name = rename(channel)
                after[self._names.setdefault(name, name)] = query
            for channel in before.keys() - after.keys():
                self._detach(channel, subscription)
            for channel in after:
                if channel not in before:
                    self._attach(channel, subscription)
            subscription.channels = after

    def find(
        self,
        channels: Sequence[str],
        roles: Collection[str],
        payload: Callable[[], Mapping[str, Any]],
    ) -> Match:
        """Find the receivers of an event (wire specification 8.2).

        Args:
            channels: The event's channels.
            roles: The event's roles; ``any`` among them stands for every subscriber, whatever it holds.
            payload: Returns the event's payload. Called at most once, and only if a filter needs it.

        Returns:
            The receivers. The same object as the last time if they are the same, no filter was asked, and nothing
            has changed in between.
        """
        audiences = self._audiences(channels)
        if not audiences:
            return _NOBODY
        roles = frozenset(roles)
        key = (tuple(audiences), roles)
        if self._last is not None and self._last_key == key:
            self._last_was_used = True
            return self._last
        verdicts = _Verdicts(payload)
        receivers = self._receivers(audiences, roles, verdicts)
        if receivers:
            match = Match(receivers, None)
        else:
            match = Match(receivers, Miss.QUERY if verdicts.has_any else Miss.NO_PERMISSION)
        if not verdicts.has_any:
            self._last, self._last_key, self._last_was_used = match, key, True
        return match

    def match(
        self,
        channels: Sequence[str],
        roles: Collection[str],
        payload: Callable[[], Mapping[str, Any]],
    ) -> Mapping[Subscriber, list[Subscription]]:
        """Return the receivers of an event; arguments and receivers are those of :meth:`find`."""
        return self.find(channels, roles, payload).receivers

    def forget_unused(self) -> None:
        """Forget the last match if no event has asked for it since this was called before."""
        if not self._last_was_used:
            self._last = None
        self._last_was_used = False

    def _receivers(
        self, audiences: Mapping[str, Collection[Subscription]], roles: frozenset[str], verdicts: _Verdicts
    ) -> dict[Subscriber, list[Subscription]]:
        if ANY in roles:
            return _match_subscriptions(audiences, None, verdicts)
        holders = self._holders(roles, limit=sum(map(len, audiences.values())))
        if holders is None:
            return _match_subscriptions(audiences, roles, verdicts)
        names = frozenset(audiences)
        return {holder: found for holder in holders if (found := verdicts.select(holder, names))}

    def match_one(
        self,
        subscriber: Subscriber,
        channels: Sequence[str],
        payload: Callable[[], Mapping[str, Any]],
    ) -> list[Subscription]:
        """Find the subscriptions of ``subscriber`` that an event matches, whatever roles it holds.

        For events that are read again from the log, and for those that reach someone under former roles (wire
        specification 16.4, 16.12). The arguments are those of :meth:`match`.
        """
        names = frozenset(self._audiences(channels))
        return _Verdicts(payload).select(subscriber, names) if names else []

    def holders(self, role: str) -> list[Subscriber]:
        """Return who holds ``role``, in the order in which they came to it."""
        return list(self._roles.members(role))

    def _check_registered(self, subscriber: Subscriber) -> None:
        if subscriber not in self._subscribers:
            raise KeyError(subscriber)

    def _attach(self, channel: str, subscription: Subscription) -> None:
        if not is_wildcard(channel):
            self._channels.add(channel, subscription)
        elif self._wildcards.add(channel, subscription):
            shape = shape_of(channel)
            shapes = self._shapes.setdefault(shape.segments, {})
            shapes[shape] = shapes.get(shape, 0) + 1

    def _detach(self, channel: str, subscription: Subscription) -> None:
        if not is_wildcard(channel):
            if self._channels.remove(channel, subscription):
                del self._names[channel]
        elif self._wildcards.remove(channel, subscription):
            del self._names[channel]
            self._forget_shape(shape_of(channel))

    def _forget_shape(self, shape: Shape) -> None:
        """Count one wildcard channel of ``shape`` less."""
        shapes = self._shapes[shape.segments]
        shapes[shape] -= 1
        if not shapes[shape]:
            del shapes[shape]
            if not shapes:
                del self._shapes[shape.segments]

    def _audiences(self, channels: Iterable[str]) -> dict[str, Collection[Subscription]]:
        """Return the names, plain and with ``*``, that cover ``channels``, with the subscriptions to each."""
        audiences = {channel: found for channel in channels if (found := self._channels.members(channel))}
        if self._shapes:
            for channel in channels:
                segments = channel.split(".")
                for shape in self._shapes.get(len(segments), ()):
                    name = star(segments, shape)
                    if name is not None and (found := self._wildcards.members(name)):
                        audiences[name] = found
        return audiences

    def _holders(self, roles: Collection[str], limit: int) -> Collection[Subscriber] | None:
        """Return the holders of ``roles``; None if they cost more than looking at ``limit`` subscriptions."""
        groups = [group for role in roles if (group := self._roles.members(role))]
        if _HOLDER_COST * sum(map(len, groups)) > limit:
            return None
        holders = groups[0] if len(groups) == 1 else dict.fromkeys(chain.from_iterable(groups))
        cost = _HOLDER_COST * len(holders) + sum([len(holder.subscriptions) for holder in holders])
        return holders if cost <= limit else None


def _match_subscriptions(
    audiences: Mapping[str, Collection[Subscription]], roles: frozenset[str] | None, verdicts: _Verdicts
) -> dict[Subscriber, list[Subscription]]:
    """Test each subscription for its subscriber's roles (None: whatever they are) and for its filter.

    The loop takes a third of a hub's own time when an event has many receivers (benchmarks/fanout.py).
    """
    receivers: dict[Subscriber, list[Subscription]] = {}
    for channel, subscriptions in audiences.items():
        for subscription in subscriptions:
            subscriber = subscription.subscriber
            if roles is not None and roles.isdisjoint(subscriber.roles):
                continue
            query = subscription.channels[channel]
            if query is not None and not verdicts.accepts(query):
                continue
            if subscriber in receivers:
                receivers[subscriber].append(subscription)
            else:
                receivers[subscriber] = [subscription]
    for subscriber, found in receivers.items():
        if len(found) > 1:
            # Found channel by channel, maybe on several; list each once, in the order they were made.
            matched = set(found)
            found[:] = [s for s in subscriber.subscriptions.values() if s in matched]
    return receivers
