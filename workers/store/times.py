"""Times as the API shows them and the store keeps them: ``2026-01-02T03:04:05.678+00:00``, always in UTC. Pure.

The text has a fixed width, so that it sorts as the times do, in either database, and costs nothing to read.
"""

from datetime import UTC, datetime


def to_text(moment: datetime) -> str:
    """Return ``moment``, which is aware, as the API shows it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def from_unix(seconds: float) -> str:
    """Return a Unix time, in seconds, as the API shows it."""
    return to_text(datetime.fromtimestamp(seconds, UTC))


def to_unix(text: str) -> float:
    """Return the Unix time, in seconds, of a text made by :func:`to_text`."""
    return datetime.fromisoformat(text).timestamp()


def from_iso(text: str) -> str:
    """Return a time in any form of ISO 8601 as the store keeps it; without an offset it is taken for UTC.

    Raises:
        ValueError: the text is no time, or one outside the years 1 to 9999.
    """
    moment = datetime.fromisoformat(text)
    try:
        return to_text(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
    except OverflowError as error:
        raise ValueError("The time is out of range.") from error
