"""Rate limits of single routes, counted in Redis for all API processes together.

::

    @router.post("/v1/teams", dependencies=[Depends(rate_limit(limit=10, window_s=60, by=("ip", "url")))])

What is left is told in the headers of the answer, whatever it is (:class:`RateHeaders`). A limit protects people from
guessing and flooding; it is no reason to be down: while Redis is away, nothing is limited.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

import structlog
from redis.exceptions import RedisError
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from realtime.bus.windows import WindowCount, count_in_window
from workers.api.access import find_caller
from workers.api.addresses import address_of
from workers.api.people.fields import MAX_EMAIL_CHARS, normalize_email
from workers.api.problems import Problem, refuse
from workers.api.services import services_of

log = structlog.get_logger("realtime.api")

Aspect = Literal["ip", "user", "email", "phone", "url"]
"""What uses are counted by: the address, the user (or guest), a member of the JSON body, the route."""

_STATE = "rate_headers"


def rate_limit(
    *, limit: int, window_s: int, by: tuple[Aspect, ...] = ("ip", "url")
) -> Callable[[Request], Awaitable[None]]:
    """Return the dependency that lets a route be used ``limit`` times in ``window_s`` seconds.

    Args:
        limit: how often.
        window_s: the length of the windows, which are the same for everybody.
        by: uses that agree in all of these count together. Without ``url``, routes share what is left.

    The dependency raises:
        ApiError: 429 ``general_rate_limit_exceeded``; and what :func:`~workers.api.access.find_caller` raises. API keys
            and servers with ``REALTIME_LIMITS=off`` are not limited.
    """

    async def check(request: Request) -> None:
        services = services_of(request)
        if services.settings.limits == "off":
            return
        caller = await find_caller(request)
        if caller.is_privileged:
            return
        aspects = [await _aspect(request, aspect, caller.user_id) for aspect in by]
        name = "\n".join([f"{limit}/{window_s}", *aspects])
        try:
            counted = await count_in_window(
                services.bus.redis, caller.project.id, name, window_s=window_s, now=time.time()
            )
        except RedisError as error:
            log.warning("a rate is not counted", path=request.url.path, error=type(error).__name__)
            return
        _note(request, counted, limit)
        if counted.uses > limit:
            raise refuse(Problem.RATE_LIMIT)

    return check


async def _aspect(request: Request, aspect: Aspect, user_id: str) -> str:
    match aspect:
        case "ip":
            return f"ip:{address_of(request)}"
        case "user":
            return f"user:{user_id}"
        case "url":
            return f"url:{request.method} {request.scope['route'].path}"
        case "email" | "phone":
            return f"{aspect}:{_as_kept(await _member(request, aspect))}"


async def _member(request: Request, name: str) -> str:
    """Return a text of the JSON body; empty when there is none."""
    try:
        body: Any = await request.json()
    except ValueError:
        return ""
    value = body.get(name) if isinstance(body, dict) else None
    return value if isinstance(value, str) else ""


def _as_kept(text: str) -> str:
    """Return an address as its account has it, since many spellings lead there; other texts in lower case."""
    text = text.strip()
    try:
        return normalize_email(text) if "@" in text and len(text) <= MAX_EMAIL_CHARS else text.lower()
    except ValueError:
        return text.lower()


def _note(request: Request, counted: WindowCount, limit: int) -> None:
    """Have the answer tell how the limit stands; of several limits, the one with the least left."""
    remaining = max(limit - counted.uses, 0)
    noted: Sequence[tuple[str, str]] = getattr(request.state, _STATE, ())
    is_tighter = not noted or remaining < int(dict(noted)["X-RateLimit-Remaining"])
    if not is_tighter and counted.uses <= limit:
        return
    headers = (
        ("X-RateLimit-Limit", str(limit)),
        ("X-RateLimit-Remaining", str(remaining)),
        ("X-RateLimit-Reset", str(counted.resets_at)),
    )
    setattr(request.state, _STATE, headers)


class RateHeaders:
    """ASGI middleware: puts what :func:`rate_limit` counted into the headers of the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Made here, so that it is the one that routes write to.
        state = scope.setdefault("state", {})

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start" and _STATE in state:
                headers = MutableHeaders(scope=message)
                for name, value in state[_STATE]:
                    headers[name] = value
            await send(message)

        await self._app(scope, receive, send_with_headers)
