"""Routes that are called with little ado, for requests of which there are many.

FastAPI finds a handler's arguments in a general way, for each request anew. Handlers here take so little that it can be
said beforehand what: a tenth of what the creation of a row costs (``benchmarks/api.py``).
"""

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, NamedTuple, TypeVar

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Dependency = TypeVar("Dependency", bound=Callable[..., Awaitable[Any]])

# Dependencies that take nothing but the request, whatever their parameters say.
_DOCUMENTED: set[Callable[..., Any]] = set()


class DirectRoute(APIRoute):
    """A route that finds simple arguments by itself, and leaves all others to FastAPI.

    Simple are the request, texts in the path, texts in the query string that have a default, and what asynchronous
    dependencies return for the request alone. The handler has to be asynchronous too, and to return a response.
    """

    def get_route_handler(self) -> Handler:
        """Return the function that answers a request."""
        return _direct(self.dependant, self.endpoint) or super().get_route_handler()


def reads_request(dependency: Dependency) -> Dependency:
    """Mark an asynchronous dependency whose parameters, but for the request, are there for the OpenAPI document alone.

    They have defaults, and it does not look at them.
    """
    _DOCUMENTED.add(dependency)
    return dependency


class _Step(NamedTuple):
    """Something to be asked before the handler is called."""

    call: Callable[..., Awaitable[Any]]
    # What it calls the request; None if it does not take it.
    request: str | None
    # What is to be asked before.
    steps: tuple["_Step", ...]
    # What the result is called by whoever it is asked for; None if they do not take it.
    name: str | None


def _direct(dependant: Dependant, endpoint: Callable[..., Any]) -> Handler | None:
    """Return the function that answers a request; None if the arguments are not that simple."""
    if inspect.signature(endpoint).return_annotation is not Response:
        return None
    step = _step(dependant)
    calls = [] if step is None else list(_calls(step))
    # FastAPI asks each dependency once.
    if step is None or len(set(calls)) < len(calls):
        return None

    defaults = {field.name: field.get_default() for field in dependant.query_params}

    async def handle(request: Request) -> Response:
        arguments = dict(request.path_params)
        for name, default in defaults.items():
            arguments[name] = request.query_params.get(name, default)
        response: Response = await _take(step, request, arguments)
        return response

    return handle


async def _take(step: _Step, request: Request, arguments: dict[str, Any]) -> Any:
    """Return the result of ``step``, which gets ``arguments`` and what is asked before it."""
    if step.request is not None:
        arguments[step.request] = request
    for before in step.steps:
        result = await _take(before, request, {})
        if before.name is not None:
            arguments[before.name] = result
    return await step.call(**arguments)


def _step(dependant: Dependant, *, is_handler: bool = True) -> _Step | None:
    """Return what is to be called; None if it takes more than simple arguments."""
    call = dependant.call
    if call is None or not _is_asynchronous(call):
        return None
    has_texts = bool(dependant.path_params or dependant.query_params)
    if call not in _DOCUMENTED and (_takes_more(dependant) or (has_texts and not is_handler)):
        return None
    steps = [_step(each, is_handler=False) for each in dependant.dependencies]
    simple = tuple([each for each in steps if each is not None])
    if len(simple) < len(steps):
        return None
    return _Step(call, dependant.request_param_name, simple, dependant.name)


def _calls(step: _Step) -> Iterator[Callable[..., Any]]:
    yield step.call
    for before in step.steps:
        yield from _calls(before)


def _is_asynchronous(call: Callable[..., Any]) -> bool:
    # An object that can be called has a method for it.
    function = call if inspect.isfunction(call) else getattr(call, "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(function)


def _takes_more(dependant: Dependant) -> bool:
    """Tell whether something takes more than the request, texts, and what others return."""
    others = (
        *dependant.header_params,
        *dependant.cookie_params,
        *dependant.body_params,
        dependant.websocket_param_name,
        dependant.http_connection_param_name,
        dependant.response_param_name,
        dependant.background_tasks_param_name,
        dependant.security_scopes_param_name,
    )
    texts = [*dependant.path_params, *dependant.query_params]
    return (
        any(others)
        or not all(map(_is_any_text, texts))
        or any(field.field_info.is_required() for field in dependant.query_params)
    )


def _is_any_text(field: Any) -> bool:
    """Tell whether a parameter takes every text, by its own name."""
    info = field.field_info
    return info.annotation is str and not info.metadata and field.name == field.alias
