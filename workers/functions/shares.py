"""Who of those that wait is run next: each project and each function as much as others, whatever its backlog. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush
from typing import NamedTuple


class Lane(NamedTuple):
    """The executions of one function, which are run in the order in which they are due."""

    project_id: str
    function_id: str


def share_out(
    waiting: Iterable[Lane], running: Mapping[Lane, int], *, free: int, of_project: int, of_function: int
) -> dict[Lane, int]:
    """Return how many executions of each lane are to be begun now; lanes that get none are left out.

    Each place goes to the project that has the fewest, and in it to the lane that has the fewest; among equals to
    whoever is first in ``waiting``. Whoever runs nothing is thus served before all who do.

    Args:
        waiting: lanes in which something is due, each once, in the order of who is to be served first.
        running: how many of each lane run now.
        free: how many may be begun.
        of_project: how many of one project may run at a time, these included.
        of_function: how many of one lane.
    """
    of_lane = Counter(running)
    of_projects = count_by_project(running)
    shares: Counter[Lane] = Counter()
    turns = [(of_projects[lane.project_id], of_lane[lane], place, lane) for place, lane in enumerate(waiting)]
    heapify(turns)
    while turns and free > 0:
        had, _, place, lane = heappop(turns)
        has = of_projects[lane.project_id]
        if of_lane[lane] >= of_function or has >= of_project:
            continue
        if has == had:
            of_lane[lane] += 1
            of_projects[lane.project_id] = has = has + 1
            shares[lane] += 1
            free -= 1
        # Otherwise another lane of the project was served meanwhile, and it is the turn of others.
        heappush(turns, (has, of_lane[lane], place, lane))
    return dict(shares)


def count_by_project(running: Mapping[Lane, int]) -> Counter[str]:
    """Return how many executions run of each project, given how many do of each lane."""
    of_projects: Counter[str] = Counter()
    for lane, count in running.items():
        of_projects[lane.project_id] += count
    return of_projects
