"""An event's payload as filters look at it: what they derive from a value is derived once for each event.

Strangers choose how many filters there are and publishers how long a text is, so the work that grows with the
text must not be repeated by every filter. Pure. Source: wire specification 6.3 and 16.10.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from realtime.queries.compare import number_of, one_of

SEARCHED_CHARACTERS = 10_000
"""The ``contains`` and ``search`` families look at so many characters of a text; the rest is not searched."""

_WORD = re.compile(r"\w+")


def words_of(text: str) -> list[str]:
    """Return the words of ``text``, in order, as the ``search`` family splits it."""
    return _WORD.findall(text)


class Value:
    """The value of an attribute, with forms of it that are made when first asked for and then kept."""

    # As published and decoded; null is None.
    raw: Any

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    @cached_property
    def number(self) -> float | None:
        """The number that the value is or spells; None if neither."""
        return number_of(self.raw)

    @cached_property
    def folded(self) -> str | None:
        """A string without regard to case; None for anything else."""
        return self.raw.casefold() if isinstance(self.raw, str) else None

    @cached_property
    def searched(self) -> str:
        """The first :data:`SEARCHED_CHARACTERS` of :attr:`folded`; empty for anything but a string."""
        return (self.folded or "")[:SEARCHED_CHARACTERS]

    @cached_property
    def has_item(self) -> Callable[[Any], bool]:
        """For a list: a test for being identical to one of its items."""
        return one_of(self.raw)

    @cached_property
    def phrase(self) -> str:
        """The words of :attr:`searched` in order, with a space on both sides of each."""
        return f" {' '.join(words_of(self.searched))} "

    @cached_property
    def words(self) -> frozenset[str]:
        """The words of :attr:`searched`."""
        return frozenset(self.phrase.split())

    def has_word_from(self, beginning: str) -> bool:
        """Tell whether one of :attr:`words` begins with ``beginning``."""
        place = bisect_left(self._sorted_words, beginning)
        return place < len(self._sorted_words) and self._sorted_words[place].startswith(beginning)

    @cached_property
    def _sorted_words(self) -> list[str]:
        return sorted(self.words)


class PayloadView:
    """One event's payload, for all the filters that it is matched against."""

    __slots__ = ("_payload", "_values")

    def __init__(self, payload: Mapping[str, Any]) -> None:
        self._payload = payload
        # Attribute -> its value; only those that the payload has and a filter asked for.
        self._values: dict[str, Value] = {}

    def value(self, attribute: str) -> Value | None:
        """Return the value of ``attribute``, the same object each time; None if it is absent."""
        value = self._values.get(attribute)
        if value is None and attribute in self._payload:
            value = self._values[attribute] = Value(self._payload[attribute])
        return value
