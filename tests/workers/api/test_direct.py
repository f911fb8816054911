"""Direct routes: the same answers as FastAPI's own, with the arguments found beforehand where that can be."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Query
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from workers.api import errors
from workers.api.direct import DirectRoute, _direct, reads_request


class Caller:
    """A dependency that is an object; it refuses those who do not say who they are."""

    async def __call__(self, request: Request) -> str:
        if "caller" not in request.headers:
            raise errors.bad_request("Who are you?")
        return request.headers["caller"]


Called = Annotated[str, Depends(Caller())]


async def count(request: Request) -> None:
    """A dependency whose result nobody takes."""
    request.app.state.counted += 1


async def page(request: Request, page: int = 1) -> int:
    return page


@reads_request
async def size(request: Request, _size: Annotated[str | None, Query(alias="size")] = None) -> int:
    return int(request.query_params.get("size", "3"))


async def greeting(request: Request, caller: Called) -> str:
    return f"{request.method} {caller}"


def sync_caller(request: Request) -> str:
    return request.headers["caller"]


async def show(request: Request, team: str, member: str, caller: Called) -> Response:
    return PlainTextResponse(f"{request.method} {team} {member} {caller}")


async def without_request(team: str) -> Response:
    return PlainTextResponse(team)


async def with_number(team: int) -> Response:
    return PlainTextResponse(f"{team + 1}")


async def with_query(request: Request, team: str, size: int = 3) -> Response:
    return PlainTextResponse(f"{team} {size}")


async def with_text(team: str, text: str = "none") -> Response:
    return PlainTextResponse(f"{team} {text!r}")


async def with_needed_text(team: str, text: str) -> Response:
    return PlainTextResponse(f"{team} {text!r}")


async def with_page(team: str, page: Annotated[int, Depends(page)]) -> Response:
    return PlainTextResponse(f"{team} {page}")


async def with_size(team: str, size: Annotated[int, Depends(size)]) -> Response:
    return PlainTextResponse(f"{team} {size}")


async def with_greeting(team: str, greeting: Annotated[str, Depends(greeting)]) -> Response:
    return PlainTextResponse(f"{team} {greeting}")


async def with_both(
    caller: Annotated[str, Depends(greeting)], again: Annotated[str, Depends(greeting)]
) -> Response:
    return PlainTextResponse(f"{caller} {again}")


async def with_thread(team: str, caller: Annotated[str, Depends(sync_caller)]) -> Response:
    return PlainTextResponse(f"{team} {caller}")


def in_thread(team: str) -> Response:
    return PlainTextResponse(team)


async def with_model(team: str) -> dict[str, str]:
    return {"team": team}


ROUTES: list[tuple[str, Any, bool]] = [
    ("/show/{team}/{member}", show, True),
    ("/without-request/{team}", without_request, True),
    ("/with-number/{team}", with_number, False),
    ("/with-query/{team}", with_query, False),
    ("/with-text/{team}", with_text, True),
    ("/with-needed-text/{team}", with_needed_text, False),
    ("/with-page/{team}", with_page, False),
    ("/with-greeting/{team}", with_greeting, True),
    ("/with-both", with_both, False),
    ("/with-size/{team}", with_size, True),
    ("/with-thread/{team}", with_thread, False),
    ("/in-thread/{team}", in_thread, False),
    ("/with-model/{team}", with_model, False),
]


@pytest.fixture(params=[DirectRoute, APIRoute])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    router = APIRouter(route_class=request.param, dependencies=[Depends(count)])
    for path, endpoint, _ in ROUTES:
        router.add_api_route(path, endpoint, response_model=None)
    app = FastAPI()
    app.state.counted = 0
    app.include_router(router)
    errors.install(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client
    assert app.state.counted == 1


class TestDirectRoute:
    @pytest.mark.parametrize(
        ("path", "status", "text"),
        [
            ("/show/red/ada", 200, "GET red ada me"),
            ("/without-request/red", 200, "red"),
            ("/with-number/7", 200, "8"),
            ("/with-number/x", 400, "Invalid `team` param"),
            ("/with-query/red?size=5", 200, "red 5"),
            ("/with-page/red?page=2", 200, "red 2"),
            ("/with-text/red", 200, "red 'none'"),
            ("/with-text/red?text=", 200, "red ''"),
            ("/with-text/red?text=a&text=b%20c", 200, "red 'b c'"),
            ("/with-needed-text/red", 400, "is not optional"),
            ("/with-needed-text/red?text=x", 200, "red 'x'"),
            ("/with-size/red", 200, "red 3"),
            ("/with-greeting/red", 200, "red GET me"),
            ("/with-both", 200, "GET me GET me"),
            ("/with-size/red?size=5&size=6", 200, "red 6"),
            ("/with-thread/red", 200, "red me"),
            ("/in-thread/red", 200, "red"),
            ("/with-model/red", 200, '{"team":"red"}'),
        ],
    )
    async def test_requests_are_answered_as_by_fastapi(
        self, client: httpx.AsyncClient, path: str, status: int, text: str
    ) -> None:
        answer = await client.get(path, headers={"caller": "me"})
        assert answer.status_code == status
        assert text in answer.text

    async def test_what_a_dependency_refuses_is_refused(self, client: httpx.AsyncClient) -> None:
        answer = await client.get("/show/red/ada")
        assert (answer.status_code, answer.json()["message"]) == (400, "Who are you?")

    @pytest.mark.parametrize(("path", "endpoint", "is_direct"), ROUTES)
    def test_only_simple_arguments_are_found_directly(
        self, path: str, endpoint: Any, is_direct: bool
    ) -> None:
        route = DirectRoute(path, endpoint, response_model=None, dependencies=[Depends(count)])
        assert (_direct(route.dependant, endpoint) is not None) is is_direct

    @pytest.mark.parametrize("name", ["create_row", "list_rows", "update_row", "delete_row"])
    def test_the_routes_of_rows_are_direct(self, name: str) -> None:
        from workers.api.rows import rows

        (route, *_) = [
            each
            for each in rows.router.routes
            if isinstance(each, APIRoute) and each.endpoint.__name__ == name
        ]
        assert isinstance(route, DirectRoute)
        assert _direct(route.dependant, route.endpoint) is not None
