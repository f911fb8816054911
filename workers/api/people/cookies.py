"""The cookies that a session lives in, and the header for browsers that do not keep them.

Source: wire specification 2.4 and 10.4. Two cookies hold the session's value: ``a_session_<project>`` is sent from
pages of other sites, too, which takes ``SameSite=None``; ``a_session_<project>_legacy`` is for browsers that do not
know that word. Over plain HTTP browsers drop a cookie with ``SameSite=None``, since it would have to be ``Secure``;
``Lax`` is what works there, between pages of one host.
"""

import ipaddress
from datetime import datetime
from typing import Literal
from urllib.parse import quote, urlsplit

import orjson
from starlette.requests import Request
from starlette.responses import Response

from workers.api.services import services_of

FALLBACK_HEADER = "X-Fallback-Cookies"


def set_session(response: Response, request: Request, project_id: str, value: str, expires_at: str) -> None:
    """Have ``response`` give the browser a session.

    Args:
        response: the answer to ``request``.
        request: the login.
        project_id: the project that the session is one of.
        value: of :func:`realtime.identity.secrets.encode_session`.
        expires_at: when the session ends, a text of :mod:`workers.store.times`.
    """
    expires = datetime.fromisoformat(expires_at)
    is_secure = _is_secure(request)
    for name, same_site in _names(project_id, is_secure=is_secure):
        response.set_cookie(
            name,
            # Its `=` would end the cookie's name for some.
            quote(value, safe=""),
            expires=expires,
            path="/",
            secure=is_secure,
            httponly=True,
            samesite=same_site,
        )
    if not _is_first_party(request):
        response.headers[FALLBACK_HEADER] = orjson.dumps({f"a_session_{project_id}": value}).decode()


def clear_session(response: Response, request: Request, project_id: str) -> None:
    """Have ``response`` take the session from the browser again."""
    is_secure = _is_secure(request)
    for name, same_site in _names(project_id, is_secure=is_secure):
        response.delete_cookie(name, path="/", secure=is_secure, httponly=True, samesite=same_site)
    if not _is_first_party(request):
        response.headers[FALLBACK_HEADER] = "{}"


def _names(project_id: str, *, is_secure: bool) -> tuple[tuple[str, Literal["none", "lax"] | None], ...]:
    name = f"a_session_{project_id}"
    return (f"{name}_legacy", None), (name, "none" if is_secure else "lax")


def _is_secure(request: Request) -> bool:
    # The proxy that ends TLS says so. Whoever lies about it only harms their own cookies.
    forwarded = request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip()
    return (forwarded or request.url.scheme) == "https"


def _is_first_party(request: Request) -> bool:
    """Tell whether the page that asks is on this server's own site, so that its browser keeps the cookies.

    Without a list of public suffixes that is known of pages on the very same host, and of hosts below one of the
    settings' domains.
    """
    origin = _host(request.headers.get("Origin", ""))
    host = _host("//" + request.headers.get("Host", ""))
    if origin == host:
        return True
    return any(
        _is_within(origin, domain) and _is_within(host, domain)
        for domain in services_of(request).settings.domains
    )


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_within(host: str, domain: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == domain or host.endswith(f".{domain}")
    return False
