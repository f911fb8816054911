"""Which language names are shown in: what ``X-Appwrite-Locale`` says, else ``Accept-Language``, else English. Pure."""

import functools
from collections.abc import Iterator

from babel import Locale, UnknownLocaleError

DEFAULT = "en"

_MAX_TAG_CHARS = 35
"""What RFC 5646 section 4.4.1 lets programs do with."""

_MAX_RANGES = 10


def choose_locale(locale: str, accept_language: str) -> str:
    """Return the identifier of the locale that fits best, such as ``pt_BR``.

    Args:
        locale: the header ``X-Appwrite-Locale``, a tag such as ``pt-BR`` or ``pt_br``; empty for none.
        accept_language: the header of RFC 9110 section 12.5.4; empty for none. More than ten ranges are not looked at.

    Texts that name no locale are passed over.
    """
    for tag in (locale, *_ranges(accept_language)):
        if known := _known(tag.strip()):
            return known
    return DEFAULT


def _ranges(header: str) -> Iterator[str]:
    """Yield the language ranges of ``Accept-Language``, the preferred first."""
    weighed: list[tuple[float, str]] = []
    for part in header.split(",", _MAX_RANGES)[:_MAX_RANGES]:
        tag, _, parameter = part.partition(";")
        weight = _weight(parameter)
        if weight > 0:
            weighed.append((weight, tag))
    return (tag for _, tag in sorted(weighed, key=lambda pair: -pair[0]))


def _weight(parameter: str) -> float:
    name, _, value = parameter.replace(" ", "").partition("=")
    if name != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


@functools.lru_cache(maxsize=256)
def _known(tag: str) -> str:
    """Return the identifier of the locale that ``tag`` names; empty for none."""
    if not tag or len(tag) > _MAX_TAG_CHARS:
        return ""
    try:
        return str(Locale.parse(tag.replace("_", "-"), sep="-"))
    except (ValueError, UnknownLocaleError):
        return ""
