"""Which icon a page has: what its head says, read without being believed. Pure."""

import contextlib
from html.parser import HTMLParser
from urllib.parse import urljoin

MAX_PAGE_BYTES = 65_536
"""How much of a page is looked at; heads are shorter."""

_KINDS = frozenset({"icon", "apple-touch-icon", "apple-touch-icon-precomposed"})

_BEST_SIDE = 64
"""Icons nearest to this many pixels are preferred."""


def icon_of(page: bytes, url: str) -> str:
    """Return the URL of the icon of the page at ``url``, which has these first bytes; ``/favicon.ico`` if it says none.

    Of several icons it is the one of the best size. Icons in SVG cannot be drawn here and do not count.
    """
    parser = _Head()
    # The parser gives up by an AssertionError where "<![" is followed by nothing known. What came before counts.
    with contextlib.suppress(AssertionError, ValueError):
        parser.feed(page[:MAX_PAGE_BYTES].decode("utf-8", "replace"))
    candidates = [icon for icon in parser.icons if _is_drawable(icon)]
    try:
        base = urljoin(url, parser.base)
        if candidates:
            return urljoin(base, min(candidates, key=_distance)["href"])
    except ValueError:
        # An address in brackets that is none.
        pass
    return urljoin(url, "/favicon.ico")


def _is_drawable(icon: dict[str, str]) -> bool:
    return (
        bool(icon.get("href"))
        and "svg" not in icon.get("type", "")
        and not icon["href"].partition("?")[0].lower().endswith(".svg")
    )


def _distance(icon: dict[str, str]) -> int:
    """Return how far the best of an icon's sizes is from what is wanted; one that says none is small."""
    sides = [
        int(width)
        for width, _, _ in (size.partition("x") for size in icon.get("sizes", "").lower().split()[:10])
        if width.isascii() and width.isdigit() and len(width) < 6
    ]
    return min((abs(side - _BEST_SIDE) for side in sides), default=_BEST_SIDE)


class _Head(HTMLParser):
    """Collects the icons that a page names, and where relative addresses start."""

    def __init__(self) -> None:
        super().__init__()
        self.icons: list[dict[str, str]] = []
        self.base = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        if tag == "link" and _KINDS & set(named.get("rel", "").lower().split()):
            self.icons.append(named)
        if tag == "base" and not self.base:
            self.base = named.get("href", "")
