"""Members by key, arranged for very many keys with very few members. Pure."""

from collections.abc import Collection
from typing import Generic, TypeVar

_SPARSE_BYTES = 1024
"""From this many bytes for each member on, a group is rebuilt; a full one takes 36 to 100."""

Member = TypeVar("Member", bound=object)


class Groups(Generic[Member]):
    """Members by key, in the order they came.

    A dictionary of ordered sets, but without a set for a single member: most roles (``user:U``) and many
    channels (``account.U``) have only one.
    """

    __slots__ = ("_groups",)

    def __init__(self) -> None:
        # Key -> its only member, or all its members as keys (a dictionary is a set that keeps the order).
        self._groups: dict[str, Member | dict[Member, None]] = {}

    def members(self, key: str) -> Collection[Member]:
        """Return a view of the members of ``key``; not to be used across a change."""
        group = self._groups.get(key)
        if group is None:
            return ()
        return group if isinstance(group, dict) else (group,)

    def add(self, key: str, member: Member) -> bool:
        """Put ``member``, which is not there yet, under ``key``. Return whether the key is new."""
        group = self._groups.get(key)
        if group is None:
            self._groups[key] = member
            return True
        if isinstance(group, dict):
            group[member] = None
        else:
            self._groups[key] = {group: None, member: None}
        return False

    def remove(self, key: str, member: Member) -> bool:
        """Take ``member``, which is there, from ``key``. Return whether the key is gone."""
        group = self._groups[key]
        if not isinstance(group, dict):
            del self._groups[key]
            return True
        del group[member]
        if len(group) == 1:
            self._groups[key] = next(iter(group))
        elif group.__sizeof__() > _SPARSE_BYTES * len(group):
            # A dictionary keeps the places of what it lost until it next grows, and walks over them all:
            # after most of a large audience has left, the rest would cost as much as the whole did.
            self._groups[key] = dict.fromkeys(group)
        return False
