"""The index of routes: the same answers as by trying one route after another."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from realtime.settings import Settings
from workers.api.dispatch import RouteIndex, joined


def scope_of(method: str, path: str) -> Scope:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [],
        "query_string": b"",
        "root_path": "",
    }


def make_app(*, is_indexed: bool) -> FastAPI:
    router = APIRouter()

    @router.get("/v1/things/{thing}")
    def show(thing: str) -> str:
        return f"shown {thing}"

    @router.get("/v1/things/special")
    def never() -> str:
        raise AssertionError("the route before it takes all")

    @router.put("/v1/things/{thing}")
    def put(thing: str) -> str:
        return f"put {thing}"

    @router.get("/v1/files/{path:path}")
    def download(path: str) -> str:
        return f"file {path}"

    prefixed, guarded = APIRouter(), APIRouter()

    @prefixed.get("/things")
    def list_things() -> str:
        return "things"

    def forbid() -> None:
        raise AssertionError("nobody asks for it")

    @guarded.get("/v1/secrets", dependencies=[Depends(forbid)])
    def list_secrets() -> str:
        return "secrets"

    async def plain(_request: Request) -> Response:
        return Response("plain")

    nested = APIRouter()
    nested.include_router(router)
    app = FastAPI()
    app.router.routes.append(Route("/v1/things/plain", plain))
    app.include_router(nested)
    app.include_router(prefixed, prefix="/v1")
    app.include_router(guarded)
    if is_indexed:
        app.router.routes.insert(0, RouteIndex(app.routes))
    return app


@pytest.fixture(params=[True, False], ids=["indexed", "one by one"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(make_app(is_indexed=request.param))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


class TestRouteIndex:
    @pytest.mark.parametrize(
        ("method", "path", "status", "answer"),
        [
            ("GET", "/v1/things/7", 200, '"shown 7"'),
            ("GET", "/v1/things/plain", 200, "plain"),
            ("GET", "/v1/things/special", 200, '"shown special"'),
            ("GET", "/v1/things/a%2Fb", 404, '{"detail":"Not Found"}'),
            ("PUT", "/v1/things/7", 200, '"put 7"'),
            ("DELETE", "/v1/things/7", 405, '{"detail":"Method Not Allowed"}'),
            ("GET", "/v1/things", 200, '"things"'),
            ("GET", "/v1/things/7/", 307, ""),
            ("GET", "/v1/files/a/b/c", 200, '"file a/b/c"'),
            ("GET", "/", 404, '{"detail":"Not Found"}'),
        ],
    )
    async def test_requests_are_answered_with_an_index_as_without(
        self, client: httpx.AsyncClient, method: str, path: str, status: int, answer: str
    ) -> None:
        response = await client.request(method, path)
        assert (response.status_code, response.text) == (status, answer)

    def test_every_route_of_the_api_is_found_by_it(self) -> None:
        from workers.api.standalone import create

        app = create(
            Settings(secret="a-secret-of-the-tests-of-32-bytes-or-so", redis_url="redis://localhost:1")
        )
        index = app.routes[0]
        assert isinstance(index, RouteIndex)
        found = 0
        for context in iter_route_contexts(app.routes[1:]):
            route = context.original_route
            if isinstance(route, APIRoute):
                scope = scope_of(min(route.methods or ()), re.sub(r"\{\w+\}", "x", route.path))
                match, child_scope = index.matches(scope)
                assert match is Match.FULL
                assert child_scope["route"].path_regex.fullmatch(scope["path"])
                found += 1
        assert found > 100


class TestJoined:
    def test_routes_are_those_of_the_routers_in_their_order(self) -> None:
        routers = [APIRouter(tags=[name]) for name in ("a", "b")]
        for router in routers:
            for path in ("/x", "/y"):
                router.get(path)(lambda: None)
        found = joined(*routers).routes
        assert found == [*routers[0].routes, *routers[1].routes]
        assert [route.tags for route in found if isinstance(route, APIRoute)] == [["a"], ["a"], ["b"], ["b"]]
