"""How JSON values compare: strictly for ``equal``, and as numbers where PHP 8 would for the orderings.

Python's own ``==`` would not do: for it 1, 1.0 and True are one value. Pure. Source: wire specification 6.3.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

_CONTAINERS = (list, dict)

# White space as PHP sees it, which may stand on both sides; group 1 is an integer, group 2 any other number.
_NUMERIC = re.compile(
    r"[ \t\n\r\v\f]*"
    r"(?:([+-]?[0-9]{1,18})|([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?))"
    r"[ \t\n\r\v\f]*"
)


def identical(left: Any, right: Any) -> bool:
    """Tell whether two JSON values are the same in type and content, all the way down.

    The order of list items counts, that of an object's members does not. Recursion goes as deep as the
    shallower of the two.
    """
    if type(left) is not type(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(identical, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(identical(left[key], right[key]) for key in left)
    return bool(left == right)


def one_of(values: Iterable[Any]) -> Callable[[Any], bool]:
    """Return a test for being :func:`identical` to one of ``values``, in constant time for scalars."""
    scalars: set[tuple[type, Any]] = set()
    containers: list[Any] = []
    for value in values:
        if isinstance(value, _CONTAINERS):
            containers.append(value)
        else:
            scalars.add((type(value), value))

    def is_one_of(value: Any) -> bool:
        if isinstance(value, _CONTAINERS):
            return any(identical(container, value) for container in containers)
        return (type(value), value) in scalars

    return is_one_of


def number_of(value: Any) -> float | None:
    """Return the number that ``value`` is, or that it spells (``"10"``, ``" 1.5e3 "``); None if neither.

    Booleans are no numbers. Integers of up to 18 digits stay exact.
    """
    kind = type(value)
    if kind is int or kind is float:
        return value  # type: ignore[no-any-return]
    if kind is not str:
        return None
    match = _NUMERIC.fullmatch(value)
    if match is None:
        return None
    return int(match[1]) if match[1] else float(match[2])
