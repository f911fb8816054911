"""How much each endpoint may be sent at a time, so that none is in the way of the others. Pure: the time comes in.

Theory of operation. Attempts are limited in four ways: all together; for each project, which has three quarters of
them at most, so that it keeps no other waiting, however many webhooks it has; for each endpoint by number and by rate
(a token bucket that holds the tokens of a second); and by how many are free: the last quarter of all, and of those of a
project, is kept for endpoints that nothing is being sent to, one attempt each. So those that never answer do not keep
the others of their project waiting, unless they are very many at once.

An endpoint's breaker opens when ``breaker_failures`` attempts failed in a row. While it is open, nothing is sent.
After the pause a single attempt is let through: if it succeeds, the breaker closes; if it fails, the pause begins
anew. What was running when it opened may still close it.

Endpoints are known by the numbers of their webhooks, and what is known of one is forgotten as soon as it says nothing
any more. How often it failed says nothing of another URL.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from workers.webhooks.outcomes import Verdict


@dataclass(frozen=True, slots=True)
class Limits:
    """What one process may send."""

    concurrency: int
    """Attempts at a time, to all endpoints together; at least 1. Three quarters are the most one project may have."""
    endpoint_concurrency: int
    """Attempts at a time to one endpoint; at least 1."""
    endpoint_rate: float = 0.0
    """Attempts a second to one endpoint; 0 for no limit."""
    breaker_failures: int = 0
    """After how many failures in a row an endpoint is left alone; 0 for never."""
    breaker_pause_s: float = 30.0
    """For how long, before a single attempt is let through."""


class Place(NamedTuple):
    """Where an attempt is made."""

    number: int
    """That of the webhook."""
    project_id: str
    url: str
    """The webhook's, when the attempt was decided on."""


@dataclass(slots=True)
class _Endpoint:
    # How many attempts are being made.
    running: int
    # How many attempts the rate allows now, as of `counted_at`.
    tokens: float
    counted_at: float
    # Where it was last known to be; the rest is about this place.
    url: str = ""
    # How many failed in a row.
    failures: int = 0
    # Until when the breaker is open; None while it is closed. It is half open from then on.
    open_until: float | None = None

    def move(self, url: str) -> None:
        """Begin anew if it is somewhere else now."""
        if url != self.url:
            self.url, self.failures, self.open_until = url, 0, None


class Endpoints:
    """What is known of the endpoints that attempts are made to. Times are seconds of a clock that never goes back."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # How many attempts of one project may be made at a time.
        self._share = max(1, limits.concurrency * 3 // 4)
        self._burst = max(1.0, limits.endpoint_rate)
        self._known: dict[int, _Endpoint] = {}
        self._running = 0
        self._running_of: Counter[str] = Counter()

    @property
    def running(self) -> int:
        """How many attempts are being made, to all endpoints together."""
        return self._running

    def left_alone(self) -> list[int]:
        """Return the numbers of the endpoints that are left alone because they fail. Looks at each that is known."""
        return [number for number, endpoint in self._known.items() if endpoint.open_until is not None]

    def allot(self, wanted: Mapping[int, str], now: float) -> dict[int, int]:
        """Return how many attempts may begin now, at least 1, for those of ``wanted`` that any may begin for.

        Those that come first are served first. Nothing changes before :meth:`begin`.

        Args:
            wanted: the numbers of endpoints, with their projects.
            now: the time.
        """
        free = self._limits.concurrency - self._running
        given: Counter[str] = Counter()
        rooms: dict[int, int] = {}
        for number, project_id in wanted.items():
            if free <= 0:
                break
            free_of_project = self._share - self._running_of[project_id] - given[project_id]
            if free_of_project > 0 and (room := self._room(number, free, free_of_project, now)) > 0:
                rooms[number] = room
                given[project_id] += room
                free -= room
        return rooms

    def next_at(self, wanted: Mapping[int, str], now: float) -> float:
        """Return when the first of ``wanted`` may begin an attempt that only has to wait for its time; inf for never.

        Whoever has to wait for an attempt to end is not among them.
        """
        if self._running >= self._limits.concurrency:
            return inf
        return min(
            (
                self._opens_at(number, now)
                for number, project_id in wanted.items()
                if self._running_of[project_id] < self._share
            ),
            default=inf,
        )

    def begin(self, place: Place, now: float) -> None:
        """Begin an attempt, which :meth:`allot` allowed."""
        endpoint = self._known.get(place.number)
        if endpoint is None:
            endpoint = self._known[place.number] = self._fresh(now)
        endpoint.move(place.url)
        endpoint.tokens = self._tokens(endpoint, now) - 1
        endpoint.counted_at = now
        endpoint.running += 1
        self._running += 1
        self._running_of[place.project_id] += 1

    def end(self, place: Place, now: float, verdict: Verdict) -> None:
        """End an attempt that :meth:`begin` began. It says nothing of an endpoint that has moved meanwhile."""
        endpoint = self._known[place.number]
        endpoint.running -= 1
        self._running -= 1
        self._running_of[place.project_id] -= 1
        if not self._running_of[place.project_id]:
            del self._running_of[place.project_id]
        if place.url == endpoint.url:
            self._judge(endpoint, now, verdict)
        if not endpoint.running and not endpoint.failures and self._tokens(endpoint, now) >= self._burst:
            del self._known[place.number]

    def move(self, urls: Mapping[int, str]) -> None:
        """Be told where endpoints are now, by their numbers: one that is somewhere else than before begins anew."""
        for number, url in urls.items():
            if (endpoint := self._known.get(number)) is not None:
                endpoint.move(url)

    def forget(self, now: float) -> None:
        """Forget the endpoints that nothing runs for, and whose breakers have long been let alone."""
        longest = 10 * self._limits.breaker_pause_s
        stale = [
            number
            for number, endpoint in self._known.items()
            if not endpoint.running and now - max(endpoint.counted_at, endpoint.open_until or 0.0) > longest
        ]
        for number in stale:
            del self._known[number]

    def _judge(self, endpoint: _Endpoint, now: float, verdict: Verdict) -> None:
        if verdict is Verdict.WORKS:
            endpoint.failures, endpoint.open_until = 0, None
        elif verdict is not Verdict.UNKNOWN:
            endpoint.failures += 1
            if 0 < self._limits.breaker_failures <= endpoint.failures:
                endpoint.open_until = now + self._limits.breaker_pause_s

    def _room(self, number: int, free: int, free_of_project: int, now: float) -> int:
        """Return how many attempts may begin for one endpoint while any may for all, and for its project."""
        endpoint = self._known.get(number) or self._fresh(now)
        tokens = self._tokens(endpoint, now)
        if endpoint.open_until is not None:
            return int(endpoint.running == 0 and now >= endpoint.open_until and tokens >= 1)
        unkept = min(free - self._limits.concurrency // 4, free_of_project - self._share // 4)
        share = max(unkept, 0 if endpoint.running else 1)
        return max(0, int(min(self._limits.endpoint_concurrency - endpoint.running, share, tokens)))

    def _opens_at(self, number: int, now: float) -> float:
        endpoint = self._known.get(number) or self._fresh(now)
        if endpoint.open_until is not None:
            return inf if endpoint.running else max(now, endpoint.open_until)
        missing = 1 - self._tokens(endpoint, now)
        if missing > 0:
            return now + missing / self._limits.endpoint_rate
        return inf if endpoint.running else now

    def _fresh(self, now: float) -> _Endpoint:
        return _Endpoint(0, self._burst, now)

    def _tokens(self, endpoint: _Endpoint, now: float) -> float:
        if not self._limits.endpoint_rate:
            return inf
        earned = (now - endpoint.counted_at) * self._limits.endpoint_rate
        return min(self._burst, endpoint.tokens + earned)
