"""Routes that are called with little ado, for requests of which there are many.

FastAPI finds a handler's arguments in a general way, for each request anew. Handlers here take so little that it can be
said beforehand what: a tenth of what the creation of a row costs (``benchmarks/api.py``).
"""

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class DirectRoute(APIRoute):
    """A route that finds simple arguments by itself, and leaves all others to FastAPI.

    Simple are the request, texts in the path, and what asynchronous dependencies return for the request alone. The
    handler has to be asynchronous too, and to return a response.
    """

    def get_route_handler(self) -> Handler:
        """Return the function that answers a request."""
        return _direct(self.dependant, self.endpoint) or super().get_route_handler()


class _Dependency(NamedTuple):
    """Something to be asked before the handler is called."""

    call: Callable[..., Awaitable[Any]]
    # What it calls the request.
    request: str
    # What the handler calls the result; None if it does not take it.
    name: str | None


def _direct(dependant: Dependant, endpoint: Callable[..., Any]) -> Handler | None:
    """Return the function that answers a request; None if the arguments are not that simple."""
    dependencies = [_dependency(each) for each in dependant.dependencies]
    if (
        not _takes_request_and_path(dependant)
        or not inspect.iscoroutinefunction(endpoint)
        or inspect.signature(endpoint).return_annotation is not Response
    ):
        return None
    simple = [each for each in dependencies if each is not None]
    if len(simple) < len(dependencies):
        return None
    request_name = dependant.request_param_name

    async def handle(request: Request) -> Response:
        arguments = dict(request.path_params)
        if request_name is not None:
            arguments[request_name] = request
        for dependency in simple:
            result = await dependency.call(**{dependency.request: request})
            if dependency.name is not None:
                arguments[dependency.name] = result
        response: Response = await endpoint(**arguments)
        return response

    return handle


def _dependency(dependant: Dependant) -> _Dependency | None:
    """Return what is to be asked; None if it takes more than the request."""
    call = dependant.call
    if (
        call is None
        or dependant.request_param_name is None
        or dependant.dependencies
        or dependant.path_params
    ):
        return None
    # The method of an object that can be called, or the function itself.
    function = call if inspect.isfunction(call) else getattr(call, "__call__", None)  # noqa: B004
    if not _takes_request_and_path(dependant) or not inspect.iscoroutinefunction(function):
        return None
    return _Dependency(call, dependant.request_param_name, dependant.name)


def _takes_request_and_path(dependant: Dependant) -> bool:
    others = (
        *dependant.query_params,
        *dependant.header_params,
        *dependant.cookie_params,
        *dependant.body_params,
        dependant.websocket_param_name,
        dependant.http_connection_param_name,
        dependant.response_param_name,
        dependant.background_tasks_param_name,
        dependant.security_scopes_param_name,
    )
    return not any(others) and all(
        field.field_info.annotation is str and not field.field_info.metadata and field.name == field.alias
        for field in dependant.path_params
    )
