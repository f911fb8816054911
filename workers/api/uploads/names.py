"""Names of uploaded files: what is kept of what a client claims. They are shown, and never part of a path. Pure."""

import re
import unicodedata

MAX_NAME_CHARS = 255
_MAX_EXTENSION_CHARS = 32
_FALLBACK = "file"

_MISLEADING = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Marks that turn the direction of what follows, so that ``gpj.exe`` looks like ``exe.jpg``."""


def clean_name(claimed: str) -> str:
    """Return the last segment of a path, without control characters, of at most 255 characters, and never empty.

    What is too long is cut before its extension.
    """
    name = claimed.replace("\\", "/").rpartition("/")[2]
    name = "".join(char for char in name if unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp"))
    name = _MISLEADING.sub("", name).strip()
    if name.strip(".") == "":
        return _FALLBACK
    if len(name) > MAX_NAME_CHARS:
        stem, dot, extension = name.rpartition(".")
        if not dot or len(extension) > _MAX_EXTENSION_CHARS:
            return name[:MAX_NAME_CHARS].rstrip()
        return stem[: MAX_NAME_CHARS - len(extension) - 1] + dot + extension
    return name


def extension_of(name: str) -> str:
    """Return what follows the last dot of a name, in lower case; empty if there is nothing."""
    return name.rpartition(".")[2].lower() if "." in name else ""
