"""Times as people give them to commands: ``2h`` ago, or a date. Pure."""

import re
from datetime import datetime, timedelta

from workers.cli.output import CommandError
from workers.store.times import from_iso, to_text

_AGO = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_moment(text: str, now: datetime) -> str:
    """Return a moment as the store writes times.

    Args:
        text: a time of ISO 8601, UTC without an offset; or how long ago it was, such as ``30s``, ``15m``, ``2h``,
            ``3d``. Empty stays empty.
        now: the time, aware.

    Raises:
        CommandError: it is neither.
    """
    if not text:
        return ""
    try:
        if ago := _AGO.fullmatch(text):
            return to_text(now - timedelta(**{_UNITS[ago[2]]: int(ago[1])}))
        return from_iso(text)
    except (ValueError, OverflowError):
        raise CommandError(
            f"{text!r} is no time: give one such as 2026-01-31T09:30, or how long ago it was, such as 2h or 3d."
        ) from None
