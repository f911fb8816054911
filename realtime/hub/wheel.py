"""One timer for all connections: a wheel of slots, one of which is due at each tick. Pure."""

from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Wheel(Generic[T]):
    """Spreads items over ``slots`` ticks, so that each comes up once a turn and none needs a timer.

    Adding and removing cost O(1); an item goes to the slot that comes up last, so its first turn is a whole one.
    """

    __slots__ = ("_current", "_slot_of", "_slots")

    def __init__(self, slots: int) -> None:
        self._slots: list[dict[T, None]] = [{} for _ in range(max(slots, 1))]
        self._slot_of: dict[T, int] = {}
        self._current = 0

    def __len__(self) -> int:
        return len(self._slot_of)

    def add(self, item: T) -> None:
        """Put ``item`` on the wheel; it comes up once in every turn from now on."""
        self._slot_of[item] = self._current
        self._slots[self._current][item] = None

    def remove(self, item: T) -> None:
        """Take ``item`` off the wheel, if it is on it."""
        slot = self._slot_of.pop(item, None)
        if slot is not None:
            del self._slots[slot][item]

    def advance(self) -> Sequence[T]:
        """Go on by one tick and return the items whose turn it is, oldest first."""
        self._current = (self._current + 1) % len(self._slots)
        return list(self._slots[self._current])
