"""Sending clients away without sending them all at once (design: drain spread over a window). Pure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from random import Random

T = TypeVar("T")

STEP_S = 0.1
"""Time between two batches."""

FULL_RATE = 200
"""Up to this many clients a second leave without stretching the drain: few of them cannot hurt anybody."""


def batches(items: Sequence[T], window_s: float, random: "Random") -> list[list[T]]:
    """Split ``items``, in random order, into the batches that leave one after the other, :data:`STEP_S` apart.

    The last batch leaves ``window_s`` after the first at the latest.
    """
    shuffled = random.sample(items, len(items))
    steps = max(1, int(window_s / STEP_S))
    size = max(-(-len(shuffled) // steps), int(FULL_RATE * STEP_S))
    return [shuffled[start : start + size] for start in range(0, len(shuffled), size)]
