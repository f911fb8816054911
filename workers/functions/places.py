"""Who may have functions run while they wait for the answer: so few each that nobody takes all places. Pure.

Whatever strangers do, a server can have its functions run, and a project those of which strangers want nothing.
"""

import contextlib
from collections import Counter
from collections.abc import Hashable, Iterator
from typing import NamedTuple

from workers.functions.pace import Limits
from workers.functions.shares import Lane


class TooManyError(Exception):
    """As many executions run in this process as may; it has to be tried again later."""


class TooManyOfCallerError(TooManyError):
    """As many executions run for the caller as may."""


class Person(NamedTuple):
    """Somebody who is no server."""

    user_id: str
    """Empty for a guest."""
    address: str
    """What the caller's address is counted as."""


class Places:
    """The places of one process.

    One project has no more than its share; all people together three quarters of that, for one function no more than
    may run of it, and one user, or one address, half of the share.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._of_people = max(1, limits.of_project * 3 // 4)
        self._of_person = max(1, limits.of_project // 2)
        # Without zeros.
        self._taken: Counter[Hashable] = Counter()

    @contextlib.contextmanager
    def take(self, lane: Lane, person: Person | None) -> Iterator[None]:
        """Hold a place until the block ends, for an execution of a function that ``person`` wants; None for a server.

        Raises:
            TooManyOfCallerError: the caller has to wait for their own to end.
            TooManyError: there are too many altogether.
        """
        limits: dict[Hashable, int] = {
            "all": self._limits.total,
            ("project", lane.project_id): self._limits.of_project,
        }
        if person is not None:
            own: dict[Hashable, int] = {("address", lane.project_id, person.address): self._of_person}
            if person.user_id:
                own["user", lane.project_id, person.user_id] = self._of_person
            if self._is_full(own):
                raise TooManyOfCallerError
            limits |= own
            limits["people", lane.project_id] = self._of_people
            limits["people", lane] = self._limits.of_function
        if self._is_full(limits):
            raise TooManyError
        self._taken.update(limits.keys())
        try:
            yield
        finally:
            self._taken.subtract(limits.keys())
            self._taken = +self._taken

    def _is_full(self, limits: dict[Hashable, int]) -> bool:
        return any(self._taken[key] >= limit for key, limit in limits.items())
