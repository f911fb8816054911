"""The pages of ``realtime dev`` and what they load: the board at ``/``, and ``/events``, which publishes.

The board is a client like any other; it is only told which project it is one of. The other page acts with this
machine's secrets: ``/dev/config.json`` hands out an API key and two tokens, so it answers only a browser on this
machine: the ``Host`` must be a loopback name (a foreign site that points its own name at 127.0.0.1 sends that name),
the peer must be a loopback address, and the browser must not say that another site asked.
"""

import ipaddress
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from realtime.settings import Settings
from workers.dev.demo import page_config

STATIC = Path(__file__).parent / "static"
_HTML = "text/html; charset=utf-8"
_CSS = "text/css; charset=utf-8"
_SCRIPT = "text/javascript; charset=utf-8"
FILES = {
    "board.html": _HTML,
    "events.html": _HTML,
    "base.css": _CSS,
    "board.css": _CSS,
    "events.css": _CSS,
    "appwrite.js": _SCRIPT,
    "board.js": _SCRIPT,
    "cards.js": _SCRIPT,
    "connection.js": _SCRIPT,
    "edit.js": _SCRIPT,
    "events.js": _SCRIPT,
    "here.js": _SCRIPT,
    "hub.js": _SCRIPT,
    "people.js": _SCRIPT,
    "pictures.js": _SCRIPT,
    "appwrite.LICENSE.txt": "text/plain; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""Every file of the pages with its media type; nothing else in the folder is served."""

HEADERS = {
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def page_routes(settings: Settings) -> list[BaseRoute]:
    """Return the routes of the pages; ``settings`` must have ``secret`` and ``dev_key``."""

    async def project(_request: Request) -> Response:
        return JSONResponse({"project": settings.dev_project}, headers=HEADERS)

    async def config(request: Request) -> Response:
        if not is_local(request):
            return JSONResponse(
                {"message": "The page acts with this machine's secrets: open it through http://localhost."},
                status_code=403,
                headers=HEADERS,
            )
        return JSONResponse(
            page_config(settings, time.time()), headers=HEADERS | {"Cache-Control": "no-store"}
        )

    return [
        Route("/", _page("board.html")),
        Route("/events", _page("events.html")),
        Route("/dev/project.json", project),
        Route("/dev/config.json", config),
        Route("/dev/static/{name}", static),
    ]


def _page(name: str) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers with a page, under a policy that lets it load and reach nothing but this server."""

    async def page(request: Request) -> Response:
        policy = content_security_policy(request.headers.get("host", ""))
        headers = HEADERS | {"Content-Security-Policy": policy}
        return FileResponse(STATIC / name, media_type=FILES[name], headers=headers)

    return page


async def static(request: Request) -> Response:
    """Answer with a file of the pages; 404 for any other name."""
    name = request.path_params["name"]
    if name not in FILES:
        return JSONResponse({"message": "No such file."}, status_code=404, headers=HEADERS)
    return FileResponse(STATIC / name, media_type=FILES[name], headers=HEADERS)


def content_security_policy(host: str) -> str:
    """Return the policy for a page asked for under the ``Host`` header ``host``.

    The WebSocket address is named because Safari does not count it as ``'self'``; it is left out for a host
    that is not plainly one.
    """
    plain = re.fullmatch(r"[A-Za-z0-9.:\[\]-]+", host) is not None
    socket = f" ws://{host} wss://{host}" if plain else ""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self'{socket}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def is_local(request: Request) -> bool:
    """Tell whether ``request`` comes from a page of this server, opened on this machine."""
    peer = request.client.host if request.client else "127.0.0.1"
    asked_by = request.headers.get("sec-fetch-site", "none")
    # The header itself, not request.url: that falls back to the server's address for names it finds odd.
    name = re.sub(r":\d+$", "", request.headers.get("host", ""))
    return is_loopback(name) and is_loopback(peer) and asked_by in {"none", "same-origin"}


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` is ``localhost``, a name under it, or a loopback address (brackets or not)."""
    name = host.lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False
