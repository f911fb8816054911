"""How large a preview is, and which part of the image it shows. Pure; all lengths are in pixels."""

import math

from workers.images.jobs import MAX_SIDE, Gravity

Size = tuple[int, int]
"""Width and height."""

Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""


def target_size(source: Size, width: int, height: int) -> Size:
    """Return the size of the preview of an image of the size ``source``.

    With both sides asked for, it is exactly this. Else the shape of the image stays, and no side becomes longer than
    :data:`~workers.images.jobs.MAX_SIDE`.
    """
    if width and height:
        return width, height
    factor = min(MAX_SIDE / source[0], MAX_SIDE / source[1])
    if width:
        factor = min(factor, width / source[0])
    elif height:
        factor = min(factor, height / source[1])
    else:
        factor = min(factor, 1.0)
    return _scaled(source[0], factor), _scaled(source[1], factor)


def turnable_size(size: Size, degrees: int) -> Size:
    """Return ``size``, or as much less of it as fits into :data:`~workers.images.jobs.MAX_SIDE` when it is turned."""
    if degrees % 90 == 0:
        return size
    sine, cosine = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
    longest = max(size[0] * cosine + size[1] * sine, size[0] * sine + size[1] * cosine)
    # Corners take whole pixels on either side.
    factor = min(1.0, (MAX_SIDE - 4) / longest)
    return _scaled(size[0], factor), _scaled(size[1], factor)


def _scaled(length: int, factor: float) -> int:
    return max(1, round(length * factor))


def visible_box(source: Size, target: Size, gravity: Gravity) -> Box:
    """Return the largest part of ``source`` that has the shape of ``target``; gravity says where it lies."""
    width = min(source[0], source[1] * target[0] / target[1])
    height = min(source[1], source[0] * target[1] / target[0])
    across, down = _SHARES[gravity]
    left = (source[0] - width) * across
    top = (source[1] - height) * down
    return left, top, min(left + width, source[0]), min(top + height, source[1])


_SHARES = {
    gravity: (
        0.0 if "left" in gravity else 1.0 if "right" in gravity else 0.5,
        0.0 if "top" in gravity else 1.0 if "bottom" in gravity else 0.5,
    )
    for gravity in Gravity
}
"""Which share of what is cut off goes at the left, and at the top."""
