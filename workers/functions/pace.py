"""How many executions a process claims at a time: what it runs at once, and of quick functions what it runs next. Pure.

A claim costs a few statements, however many it is for. Of a function that takes milliseconds, a process claims what it
will have run within half a second; of one that takes seconds only what it begins at once, so that other processes can.
"""

from collections.abc import Mapping
from typing import NamedTuple

from workers.functions.shares import Lane, share_out

AHEAD_S = 0.5
"""For how long what is claimed may have to wait for its turn, going by how long those before it took."""

MAX_AHEAD = 100
"""How many executions of one function may wait for their turn in a process."""

_WEIGHT = 0.2
"""How much the last run of a function counts in its mean, against all before it."""

_MAX_KNOWN = 10_000
_SHORTEST_S = 0.001


class Limits(NamedTuple):
    """How many executions may run at a time in a process."""

    total: int
    of_project: int
    of_function: int


class Pace:
    """Decides how many executions of each lane are to be claimed; knows how long runs took."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # Seconds, a mean in which older runs count less and less.
        self._means_s: dict[Lane, float] = {}
        # Lanes that had as many as were asked for: there may be more.
        self._has_more: set[Lane] = set()
        # Whether a lane got nothing because of others.
        self._passed_over = False

    def ask(self, due: Mapping[Lane, object], claimed: Mapping[Lane, int]) -> dict[Lane, int]:
        """Return how many executions to claim of each lane; lanes of which none are to be are left out.

        Args:
            due: lanes in which something is due, in the order of who is to be served first.
            claimed: how many of each lane are claimed and have not ended; each at least 1.
        """
        limit = self._limits.of_function
        running = {lane: min(count, limit) for lane, count in claimed.items()}
        free = self._limits.total - sum(running.values())
        asked = share_out(due, running, free=free, of_project=self._limits.of_project, of_function=limit)
        self._passed_over = any(lane not in asked and running.get(lane, 0) < limit for lane in due)
        for lane in due:
            moves = lane in asked or lane in claimed
            if moves and self._is_low(lane, claimed.get(lane, 0)):
                ahead = self._ahead(lane) - max(claimed.get(lane, 0) - limit, 0)
                asked[lane] = asked.get(lane, 0) + ahead
        return {lane: count for lane, count in asked.items() if count > 0}

    def got(self, lane: Lane, asked: int, count: int) -> None:
        """Learn that ``count`` executions were there when ``asked`` were to be claimed."""
        if count < asked:
            self._has_more.discard(lane)
        else:
            self._has_more.add(lane)

    def ended(self, lane: Lane, duration_s: float, claimed: int) -> bool:
        """Learn that a run took so long, and ``claimed`` are left of its lane. Returns whether to claim more now."""
        before = self._means_s.get(lane, duration_s)
        if len(self._means_s) >= _MAX_KNOWN:
            self._means_s.clear()
        self._means_s[lane] = before + _WEIGHT * (duration_s - before)
        return self._passed_over or (lane in self._has_more and self._is_low(lane, claimed))

    def _is_low(self, lane: Lane, claimed: int) -> bool:
        """Tell whether at most half of those that may wait for their turn do: fewer are not worth a claim."""
        return (claimed - self._limits.of_function) * 2 <= self._ahead(lane)

    def _ahead(self, lane: Lane) -> int:
        mean_s = self._means_s.get(lane)
        if mean_s is None:
            return 0
        return min(MAX_AHEAD, int(self._limits.of_function * AHEAD_S / max(mean_s, _SHORTEST_S)))
