"""The URLs that functions live at: what a function has for an entrypoint instead of a file. Pure."""

import functools

import httpx
from yarl import URL

from workers.outbound.targets import TargetError, parse_target


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
            function's host: it is only ever appended to what follows that.

    Raises:
        httpx.InvalidURL: no URL can have this path.
    """
    base, asked = httpx.URL(url), httpx.URL("http://call" + path)
    folder = base.raw_path.rstrip(b"/")
    whole = base if asked.raw_path == b"/" else base.copy_with(raw_path=folder + asked.raw_path)
    # As it is: what was encoded stays so, and no `..` is left in it that leads out of the URL's own path.
    return URL(str(whole), encoded=True)
