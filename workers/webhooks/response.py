"""What is kept of the response of an endpoint. Pure."""

import codecs
import re
from datetime import UTC
from email.utils import parsedate_to_datetime

EXCERPT_MAX_BYTES = 10_000
"""How much of a body is kept, as text: wire specification 11.4."""

_SECONDS = re.compile(r"[0-9]{1,9}")


def excerpt(body: bytes) -> str:
    """Return the beginning of ``body`` as text: what is no UTF-8 is replaced, what no database keeps is left out.

    It is cut after :data:`EXCERPT_MAX_BYTES`, but never within a character.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return decoder.decode(body[:EXCERPT_MAX_BYTES], len(body) <= EXCERPT_MAX_BYTES).replace("\0", "")


def parse_retry_after(value: str, now: float) -> float | None:
    """Return how many seconds the header ``Retry-After`` asks for; None if it is neither seconds nor a date.

    Args:
        value: of the header (RFC 9110, 10.2.3).
        now: the present, in Unix seconds, which a date is compared with; one of the past asks for 0.
    """
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = moment.timestamp() - now
    except (ValueError, OverflowError):
        return None
    return max(0.0, seconds)
