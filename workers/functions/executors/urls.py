"""The URLs that functions live at: what a function has for an entrypoint instead of a file. Pure."""

import functools
import re
from urllib.parse import unquote_to_bytes

import httpx
from yarl import URL

from workers.outbound.targets import TargetError, parse_target

_SEPARATOR = re.compile(rb"[/\\]")
_DOTS = frozenset({b".", b".."})


def is_url(entrypoint: str) -> bool:
    """Tell whether a function lives at a URL, so that it needs no deployment."""
    return entrypoint.lower().startswith(("http://", "https://"))


def check_url(url: str) -> str:
    """Return the URL of a function: paths of calls can be put behind it.

    Raises:
        TargetError: it is no URL that requests can be sent to, or has a query string or a fragment.
    """
    parse_target(url)
    if "?" in url or "#" in url:
        raise TargetError("URL must have no query string and no fragment")
    return url


@functools.lru_cache(1_024)
def url_of_call(url: str, path: str) -> URL:
    """Return where a call goes. Those of events and schedules go to the same place over and over.

    Args:
        url: of the function, as :func:`check_url` returns it.
        path: of the call, from its first slash on; with a query string, if it has one. Whatever it is, it leads to the
            function's host, and to what lies behind the function's own path: it is only ever appended to that.

    Raises:
        httpx.InvalidURL: no URL can have this path, or it leads out of the function's own for a server that decodes it.
    """
    base, asked = httpx.URL(url), httpx.URL("http://call" + path)
    own, query, rest = asked.raw_path.partition(b"?")
    _check_segments(own)
    # To many servers a backslash is a slash, as long as it is not encoded.
    behind = own.replace(b"\\", b"%5C") + query + rest
    folder = base.raw_path.rstrip(b"/")
    whole = base if behind == b"/" else base.copy_with(raw_path=folder + behind)
    # As it is: what was encoded stays so.
    return URL(str(whole), encoded=True)


def _check_segments(path: bytes) -> None:
    """Refuse a path that a server may read as one of less segments; those of plain dots are gone already.

    Servers decode dots before they resolve them (WHATWG URL, "double-dot path segment"), and some slashes and
    backslashes too, or they take away what follows a semicolon first.
    """
    for segment in _SEPARATOR.split(unquote_to_bytes(path)):
        if segment.partition(b";")[0] in _DOTS:
            raise httpx.InvalidURL("a segment of it may be read as . or ..")
