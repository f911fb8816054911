"""What kind of file some bytes are: by how they begin, and by the file's name where that says too little. Pure.

The answer is shown, and decides how a browser is told to treat a download; it is no proof of what a file holds.
"""

import mimetypes

import puremagic

HEAD_BYTES = 8_192
"""How much of a file is looked at."""

UNKNOWN = "application/octet-stream"

_SURE = 0.3
"""From which confidence on a signature counts whatever the name says: one of three bytes or more."""

_GENERAL = ("application/zip", "application/pdf")
"""Of several kinds that begin alike, those that are taken if the name says nothing."""


def media_type_of(head: bytes, name: str) -> str:
    """Return the media type of a file that begins with ``head`` (:data:`HEAD_BYTES` of it) and is called ``name``."""
    named = mimetypes.guess_type(name, strict=False)[0]
    if named is not None and named.startswith("text/") and _is_text(head):
        return named
    found = _signatures(head)
    if named in found:
        return named
    sure = {media_type: confidence for media_type, confidence in found.items() if confidence >= _SURE}
    if sure:
        best = [media_type for media_type, confidence in sure.items() if confidence == max(sure.values())]
        return next((each for each in _GENERAL if each in best), best[0])
    return named or ("text/plain" if _is_text(head) else UNKNOWN)


def _signatures(head: bytes) -> dict[str, float]:
    """Return the media types whose signature ``head`` bears, with how sure that is, from 0 to 1."""
    found: dict[str, float] = {}
    try:
        matches = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        return found
    for match in matches:
        if match.mime_type:
            found[match.mime_type] = max(match.confidence, found.get(match.mime_type, 0))
    return found


def _is_text(head: bytes) -> bool:
    """Tell whether ``head`` is UTF-8 without control characters; its last character may be cut off."""
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3 or error.reason != "unexpected end of data":
            return False
        text = head[: error.start].decode()
    return all(char >= " " or char in "\t\n\r\f\x1b" for char in text)
