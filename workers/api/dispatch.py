"""Which route answers a request, found without trying them all.

Frameworks try one route after another, and the API has hundreds: that was the largest part of a request's cost. Paths
of the API differ in their number of parts and in the first part after the version, so few are left to try (benchmark:
``benchmarks/api.py``).
"""

from collections.abc import Iterable

from fastapi import APIRouter
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

_Key = tuple[str, int, str]


class RouteIndex(BaseRoute):
    """A route that stands for many, and comes before them.

    It answers exactly the requests that one of them would; those that none of them would are left to whatever comes
    after it. They stay there for the OpenAPI document.

    Args:
        routes: as an application has them; of several that match, the first answers. Included routers must bring
            no dependencies to their routes; those to which they bring a prefix are not indexed, nor are those whose
            parameters take several parts of a path.
    """

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._routes: dict[_Key, list[Route]] = {}
        for context in iter_route_contexts(list(routes)):
            route = context.original_route
            if isinstance(route, Route) and context.path == route.path and ":" not in route.path:
                for method in route.methods or ():
                    self._routes.setdefault(_key(method, route.path), []).append(route)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell whether one of the routes answers the request, and which."""
        if scope["type"] == "http":
            for route in self._routes.get(_key(scope["method"], scope["path"]), ()):
                match, child_scope = route.matches(scope)
                if match is Match.FULL:
                    return match, {**child_scope, "route": route}
        return Match.NONE, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the request answered by the route that was found."""
        await scope["route"].handle(scope, receive, send)


def joined(*routers: APIRouter) -> APIRouter:
    """Return a router with the routes of all ``routers``, in their order.

    FastAPI's ``include_router`` makes each route once more, by the prefix, tags and dependencies of who includes it.
    For the routes of the API, which have them already, that takes half a second at each start.
    """
    router = APIRouter()
    for each in routers:
        router.routes.extend(each.routes)
    return router


def _key(method: str, path: str) -> _Key:
    parts = path.split("/", 3)
    # `/v1/teams/red/prefs` is of five parts, and of teams.
    return method, path.count("/"), parts[2] if len(parts) > 2 else ""
