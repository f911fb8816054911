"""Which web pages may call the API: cross-origin resource sharing by the platforms of the project.

Whoever asks first (a preflight) is told what could be asked, for the request that follows names the project and that
one is checked: a page of an unknown origin is refused before anything happens, unless it acts by an API key, which no
browser adds by itself. Requests without ``Origin`` come from no page and pass at the cost of a look at their headers.
Source: wire specification 2.5 and 2.6.
"""

import time

import structlog
from redis.exceptions import RedisError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from realtime.errors import ClientError
from realtime.identity.model import Project
from realtime.identity.origins import check_origin, is_dev_key
from workers.api.access import acts_by_key, find_project
from workers.api.errors import to_response, unavailable
from workers.api.problems import Problem, refuse
from workers.api.services import services_of

log = structlog.get_logger("realtime.api")

PREFIX = "/v1/"
"""Only what is below is for pages of other origins."""

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD")

REQUEST_HEADERS = (
    "Accept", "Authorization", "Cache-Control", "Content-Range", "Content-Type", "Cookie", "Idempotency-Key", "Origin",
    "Range", "X-Appwrite-Dev-Key", "X-Appwrite-ID", "X-Appwrite-Impersonate-User-Email",
    "X-Appwrite-Impersonate-User-Id", "X-Appwrite-Impersonate-User-Phone", "X-Appwrite-JWT", "X-Appwrite-Key",
    "X-Appwrite-Locale", "X-Appwrite-Mode", "X-Appwrite-Project", "X-Appwrite-Response-Format", "X-Appwrite-Session",
    "X-Appwrite-Timestamp", "X-Appwrite-User", "X-Fallback-Cookies", "X-Requested-With", "X-SDK-GraphQL",
    "X-SDK-Language", "X-SDK-Name", "X-SDK-Platform", "X-SDK-Profile", "X-SDK-Version",
)  # fmt: skip
"""What the SDKs send."""

EXPOSED_HEADERS = (
    "Content-Range", "Retry-After", "X-Appwrite-Cache", "X-Appwrite-Session", "X-Appwrite-Warning",
    "X-Fallback-Cookies", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset",
)  # fmt: skip
"""What pages may read of an answer."""

_PREFLIGHT = {
    "Access-Control-Allow-Methods": ", ".join(METHODS),
    "Access-Control-Allow-Headers": ", ".join(REQUEST_HEADERS),
    "Access-Control-Allow-Credentials": "true",
    # As long as Chromium keeps it.
    "Access-Control-Max-Age": "7200",
    "Vary": "Origin",
}


class Cors:
    """ASGI middleware that answers preflights, refuses unknown origins, and marks the answers for the others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        origin = _origin(scope)
        if not origin:
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        if request.method == "OPTIONS" and "access-control-request-method" in request.headers:
            await _answer_preflight(origin)(scope, receive, send)
            return
        try:
            project = await find_project(request)
            reason = "" if project is None else refusal(request, origin, project)
            # With any other key a session that the browser adds would count.
            is_refused = project is not None and reason != "" and not await acts_by_key(request, project)
        except RedisError as error:
            log.warning("an origin could not be judged", error=type(error).__name__)
            await to_response(unavailable())(scope, receive, send)
            return
        if is_refused:
            await to_response(refuse(Problem.UNKNOWN_ORIGIN, reason=reason))(scope, receive, send)
            return
        headers = {} if reason else _allow(origin, has_credentials=project is not None)
        await self._app(scope, receive, _marking(send, headers))


def refusal(request: Request, origin: str, project: Project) -> str:
    """Return why a page of ``origin`` may not call; empty when it may."""
    dev_key = request.headers.get("x-appwrite-dev-key", "")
    try:
        check_origin(
            origin,
            project,
            platform_hosts=services_of(request).settings.domains,
            dev_key=is_dev_key(project, dev_key, time.time()),
        )
    except ClientError as error:
        return str(error)
    return ""


def _origin(scope: Scope) -> str:
    if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
        return ""
    for name, _ in scope["headers"]:
        if name == b"origin":
            return Headers(scope=scope)["origin"]
    return ""


def _answer_preflight(origin: str) -> Response:
    return Response(status_code=204, headers={"Access-Control-Allow-Origin": _safe(origin)} | _PREFLIGHT)


def _allow(origin: str, *, has_credentials: bool) -> dict[str, str]:
    """Return the headers that let a page read the answer.

    Where no project was found, there is nobody whose cookies could count, and any page may read as much.
    """
    allowed = {"Access-Control-Expose-Headers": ", ".join(EXPOSED_HEADERS)}
    if has_credentials:
        return {
            "Access-Control-Allow-Origin": _safe(origin),
            "Access-Control-Allow-Credentials": "true",
        } | allowed
    return {"Access-Control-Allow-Origin": "*"} | allowed


def _safe(origin: str) -> str:
    """Return the origin as it can stand in a header."""
    return origin if origin.isascii() and origin.isprintable() else "null"


def _marking(send: Send, headers: dict[str, str]) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer = MutableHeaders(scope=message)
            answer.update(headers)
            answer.add_vary_header("Origin")
        await send(message)

    return send_with_headers
