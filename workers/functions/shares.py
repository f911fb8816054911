"""Who of those that wait is run next: each function a bit, so that none has to wait for another's backlog. Pure."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Lane(NamedTuple):
    """The executions of one function, which are run in the order in which they are due."""

    project_id: str
    function_id: str


def share_out(
    waiting: Iterable[Lane], running: Mapping[Lane, int], *, free: int, of_project: int, of_function: int
) -> dict[Lane, int]:
    """Return how many executions of each lane are to be begun now; lanes that get none are left out.

    Places go round: whoever is first in ``waiting`` gets the first one, and a second one when all had their first.

    Args:
        waiting: lanes in which something is due, each once, in the order of who is to be served first.
        running: how many of each lane run now.
        free: how many may be begun.
        of_project: how many of one project may run at a time, these included.
        of_function: how many of one lane.
    """
    of_lane = Counter(running)
    of_projects: Counter[str] = Counter()
    for lane, count in running.items():
        of_projects[lane.project_id] += count
    shares: Counter[Lane] = Counter()
    turns = deque(waiting)
    while turns and free > 0:
        lane = turns.popleft()
        if of_lane[lane] < of_function and of_projects[lane.project_id] < of_project:
            of_lane[lane] += 1
            of_projects[lane.project_id] += 1
            shares[lane] += 1
            free -= 1
            turns.append(lane)
    return dict(shares)
