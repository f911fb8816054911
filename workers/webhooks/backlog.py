"""How much more may wait for each webhook, without counting what waits each time. Pure: the time comes in."""

from dataclasses import dataclass

_PART = 4
"""After which part of the room was taken, others may have taken the rest: it is counted again."""

_FULL_S = 1.0
"""How often what waits for a webhook is counted that has no room, in seconds."""

_KNOWN = 100_000
"""How many webhooks are remembered at most."""


@dataclass(slots=True)
class _Room:
    # How many more could wait when it was counted, and how many of them this process has added since.
    counted: int
    taken: int
    counted_at: float


class Backlog:
    """What is known of how much waits. What is delivered meanwhile is not, so that it is never too hopeful alone.

    Several processes that record for the same webhook may go beyond the limit together, by a part of it.

    Args:
        max_pending: how many may wait for a webhook.
    """

    def __init__(self, max_pending: int) -> None:
        self._max_pending = max_pending
        self._rooms: dict[int, _Room] = {}

    def uncertain(self, number: int, count: int, now: float) -> int | None:
        """Return up to how many have to be counted, and :meth:`learn` told, before ``count`` more are taken.

        None if that is known well enough.
        """
        room = self._rooms.get(number)
        if room is not None:
            if (room.taken + count) * _PART <= room.counted:
                return None
            if room.taken >= room.counted and now - room.counted_at < _FULL_S:
                return None
        return self._max_pending

    def learn(self, number: int, waiting: int, now: float) -> None:
        """Be told how many wait for a webhook."""
        if len(self._rooms) >= _KNOWN:
            self._rooms.clear()
        self._rooms[number] = _Room(max(0, self._max_pending - waiting), 0, now)

    def take(self, number: int, count: int) -> int:
        """Take room for ``count`` more, or for as many as there is room for; return how many those are."""
        room = self._rooms[number]
        taken = min(count, room.counted - room.taken)
        room.taken += taken
        return taken
