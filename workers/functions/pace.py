"""How many executions a process claims at a time: what it runs at once, and of quick functions what it runs next. Pure.

A claim costs a few statements, however many it is for. Of a function that takes milliseconds, a process claims what it
will have run within half a second; of one that takes seconds only what it begins at once, so that other processes can.

What is claimed ahead is taken from others who wait: nothing more is of those that have more than others, until these
were served. And among equals those are served first who were served longest ago, however old what others have is.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from workers.functions.shares import Lane, count_by_project, share_out

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
        # When each lane was served last, counted in servings; those longest ago first.
        self._served: dict[Lane, int] = {}
        self._servings = 0
        # Lanes that had as many as were asked for: there may be more.
        self._has_more: set[Lane] = set()
        # Lanes that got nothing because of others.
        self._left_out: list[Lane] = []

    def ask(self, due: Iterable[Lane], claimed: Mapping[Lane, int]) -> dict[Lane, int]:
        """Return how many executions to claim of each lane; lanes of which none are to be are left out.

        Args:
            due: lanes in which something is due, in the order of what has waited longest.
            claimed: how many of each lane are claimed and have not ended; each at least 1.
        """
        total, of_project, of_function = self._limits
        order = sorted(due, key=lambda lane: self._served.get(lane, 0))
        running = {lane: min(count, of_function) for lane, count in claimed.items()}
        # Some of what is claimed waits for others of its project, and leaves places to other projects.
        taken = sum(min(count, of_project) for count in count_by_project(running).values())
        asked = share_out(order, running, free=total - taken, of_project=of_project, of_function=of_function)
        self._left_out = [lane for lane in order if lane not in asked and running.get(lane, 0) < of_function]
        has_more = self._those_with_more(running)
        for lane in order:
            moves = lane in asked or (lane in claimed and not has_more(lane))
            if moves and self._is_low(lane, claimed.get(lane, 0)):
                ahead = self._ahead(lane) - max(claimed.get(lane, 0) - of_function, 0)
                asked[lane] = asked.get(lane, 0) + ahead
        return {lane: count for lane, count in asked.items() if count > 0}

    def left_out(self, claimed: Mapping[Lane, int]) -> list[Lane]:
        """Return the lanes that got nothing when asked for last, and have nothing, in the order of their turns."""
        return [lane for lane in self._left_out if lane not in claimed]

    def _those_with_more(self, running: Mapping[Lane, int]) -> Callable[[Lane], bool]:
        """Return what tells whether a lane, or its project, has more than one that was left out."""
        of_projects = count_by_project(running)
        fewest = min((of_projects[lane.project_id] for lane in self._left_out), default=math.inf)
        fewest_of: dict[str, int] = {}
        for lane in self._left_out:
            count = running.get(lane, 0)
            fewest_of[lane.project_id] = min(count, fewest_of.get(lane.project_id, count))

        def has_more(lane: Lane) -> bool:
            return _is_less(fewest, of_projects[lane.project_id]) or _is_less(
                fewest_of.get(lane.project_id, math.inf), running[lane]
            )

        return has_more

    def got(self, lane: Lane, asked: int, count: int) -> None:
        """Learn that ``count`` executions were there when ``asked`` were to be claimed."""
        self._servings += 1
        self._served.pop(lane, None)
        self._served[lane] = self._servings
        if len(self._served) > _MAX_KNOWN:
            del self._served[next(iter(self._served))]
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
        return bool(self._left_out) or (lane in self._has_more and self._is_low(lane, claimed))

    def _is_low(self, lane: Lane, claimed: int) -> bool:
        """Tell whether at most half of those that may wait for their turn do: fewer are not worth a claim."""
        return (claimed - self._limits.of_function) * 2 <= self._ahead(lane)

    def _ahead(self, lane: Lane) -> int:
        mean_s = self._means_s.get(lane)
        if mean_s is None:
            return 0
        return min(MAX_AHEAD, int(self._limits.of_function * AHEAD_S / max(mean_s, _SHORTEST_S)))


def _is_less(one: float, other: float) -> bool:
    """Tell whether ``one`` is nothing, or less than ``other`` by more than a place, which would go to and fro."""
    return one == 0 or one + 1 < other
