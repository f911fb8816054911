"""Whose picture is drawn next, and who is told to come again when too many wait. Pure.

What anybody asks for waits behind the rest of what they asked for themselves, not behind everybody's: projects take
turns, within a project API keys and people, and of the latter addresses, then users. Where all places are taken, it is
whoever has the most of them that gives one up.
"""

from collections import deque
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

_T = TypeVar("_T")


class Party(NamedTuple):
    """Whose request a picture is for, from what is shared by many to what is somebody's own."""

    project_id: str = ""
    is_key: bool = False
    """Whether it is an API key, rather than one of many people."""
    address: str = ""
    user_id: str = ""


class Turns(Generic[_T]):
    """What waits, in the order in which it is served.

    Args:
        places: how many may wait.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._waiting = _Branch[_T]()

    def __len__(self) -> int:
        return self._waiting.size

    def put(self, party: Party, item: _T) -> _T | None:
        """Have ``item`` wait. Return what waits no longer for that, if there were too many: maybe ``item`` itself."""
        self._waiting.put(party, item)
        if self._waiting.size <= self._places:
            return None
        return self._waiting.pop_newest_of_most(party)

    def take(self) -> _T | None:
        """Return what is next, and have it wait no longer; None when nothing waits."""
        return self._waiting.pop_next() if self._waiting.size else None

    def remove(self, party: Party, item: _T) -> None:
        """Have ``item`` wait no longer, if it does."""
        self._waiting.remove(party, item)


class _Branch(Generic[_T]):
    """What waits of a party, by its parts; or, where there are no more parts, in the order of asking."""

    def __init__(self) -> None:
        self.size = 0
        # None is empty, and the first is next.
        self._parts: dict[Hashable, _Branch[_T]] = {}
        self._items: deque[_T] = deque()

    def put(self, path: tuple[Hashable, ...], item: _T) -> None:
        self.size += 1
        if not path:
            self._items.append(item)
        else:
            self._parts.setdefault(path[0], _Branch()).put(path[1:], item)

    def pop_next(self) -> _T:
        self.size -= 1
        if self._items:
            return self._items.popleft()
        name = next(iter(self._parts))
        part = self._parts.pop(name)
        item = part.pop_next()
        if part.size:
            self._parts[name] = part
        return item

    def pop_newest_of_most(self, asking: tuple[Hashable, ...]) -> _T:
        """Return the newest of whoever has most; of whoever is ``asking`` if nobody has more."""
        self.size -= 1
        if self._items:
            return self._items.pop()
        most = max(self._parts, key=lambda name: (self._parts[name].size, name in asking[:1]))
        part = self._parts[most]
        # Who gives a place up to another has nobody asking among its parts.
        item = part.pop_newest_of_most(asking[1:] if most in asking[:1] else ())
        if not part.size:
            del self._parts[most]
        return item

    def remove(self, path: tuple[Hashable, ...], item: _T) -> bool:
        part = self._parts.get(path[0]) if path else None
        if part is not None:
            removed = part.remove(path[1:], item)
            if not part.size:
                del self._parts[path[0]]
        elif removed := item in self._items:
            self._items.remove(item)
        self.size -= removed
        return removed
