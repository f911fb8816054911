"""What ends at a known time: sessions, tokens and keys of open connections. Pure."""

import heapq
from typing import Generic, TypeVar

T = TypeVar("T")


class ExpiryQueue(Generic[T]):
    """Items by the time at which they end. There is no removal: who takes an item out checks that it still ends."""

    __slots__ = ("_added", "_heap")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._added = 0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def next_at(self) -> float | None:
        """The time at which the first item ends, or None if there is no item."""
        return self._heap[0][0] if self._heap else None

    def add(self, at: float, item: T) -> None:
        """Remember that ``item`` ends at time ``at``."""
        self._added += 1  # breaks ties, so that items are never compared
        heapq.heappush(self._heap, (at, self._added, item))

    def take_due(self, now: float) -> list[T]:
        """Remove and return every item that has ended by ``now``, earliest first."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heapq.heappop(self._heap)[2])
        return due
