"""What became of each event that reached a hub, counted by project and exact to the event. Pure.

Every event is entered once when it is received and settled once: delivered to at least one connection, filtered since
nobody here was to have it, or dropped. So, but for those still under way,
``received = delivered + filtered + dropped``, where dropped does not include the events of a ``gap``: these were
published, and never received.
"""

from collections import Counter
from typing import NamedTuple

from realtime.hub.index import Miss


class Outcome(NamedTuple):
    """What became of an event, as labels of metrics."""

    outcome: str
    """``delivered``, ``filtered`` or ``dropped``."""
    reason: str = ""
    """Why it was filtered or dropped; empty if it was delivered."""


DELIVERED = Outcome("delivered")
"""At least one connection was sent it."""

FILTERED = {miss: Outcome("filtered", miss.value) for miss in Miss}
"""Nobody here was to have it."""

FAILED = Outcome("dropped", "failed")
"""An unforeseen error; it is in the log."""

GAP = Outcome("dropped", "gap")
"""The log did not have it any more when Redis was back."""


def dropped(reason: str) -> Outcome:
    """Return the outcome of an event that could have been somebody's; ``reason`` is one of a small fixed set."""
    return Outcome("dropped", reason)


class Ledger:
    """The counts since they were last taken, as plain numbers."""

    __slots__ = ("received", "settled")

    def __init__(self) -> None:
        # Project ID -> events received.
        self.received: Counter[str] = Counter()
        # Project ID and outcome -> events.
        self.settled: Counter[tuple[str, Outcome]] = Counter()

    def receive(self, project_id: str, events: int = 1) -> None:
        """Enter an event that came from Redis, live or from the log, or several."""
        self.received[project_id] += events

    def settle(self, project_id: str, outcome: Outcome, events: int = 1) -> None:
        """Note what became of one event, or of several."""
        self.settled[project_id, outcome] += events

    def take(self) -> tuple[Counter[str], Counter[tuple[str, Outcome]]]:
        """Return what was counted, ``received`` and ``settled``, and begin again with nothing."""
        taken = self.received, self.settled
        self.received, self.settled = Counter(), Counter()
        return taken
