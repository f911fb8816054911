"""Every refusal of the HTTP API: its status, its type, and the body ``{message, code, type, version}``.

One ladder, :func:`install`, turns whatever a route raised into that body, so that no route builds an error
response. The types and texts are those that Appwrite's SDKs know.
"""

import json
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from realtime import __version__
from realtime.bus.work import WorkFullError
from realtime.errors import (
    ClientError,
    InvalidEventError,
    InvalidPermissionError,
    InvalidQueryError,
    NotPublishedError,
    TooMuchWaitsError,
)
from workers.api.validation import explain
from workers.store.failures import Failure, failure_of

RETRY_AFTER_S = 1
"""What clients are told to wait, in seconds, when Redis cannot be reached."""

_ADVICE = "Try again. If this was to change something, it may have been changed nevertheless."

_HTTP_STATUSES = frozenset(status.value for status in HTTPStatus)

_LOG = structlog.get_logger("realtime.api")


class ApiError(Exception):
    """A refusal that the caller is told as it stands; ``str(error)`` is the ``message``."""

    def __init__(self, status: HTTPStatus, error_type: str, message: str) -> None:
        self.status = status
        self.type = error_type
        super().__init__(message)


class Refused(HTTPException):
    """An :class:`ApiError` in the one form that FastAPI lets through while it reads a body."""

    def __init__(self, error: ApiError) -> None:
        self.error = error
        super().__init__(error.status)


def bad_request(message: str) -> ApiError:
    """Return the error for a body or header that breaks a rule, which ``message`` names."""
    return ApiError(HTTPStatus.BAD_REQUEST, "general_argument_invalid", message)


def too_large(limit_bytes: int) -> ApiError:
    """Return the error for a body of more than ``limit_bytes``."""
    return ApiError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "general_request_too_large",
        f"The request body is larger than the limit of {limit_bytes} bytes. Send less at a time.",
    )


def too_late(timeout_s: float) -> ApiError:
    """Return the error for a body that did not arrive within ``timeout_s`` seconds."""
    return ApiError(
        HTTPStatus.REQUEST_TIMEOUT,
        "general_request_timeout",
        f"The request body did not arrive within {timeout_s:g} seconds.",
    )


def project_not_found() -> ApiError:
    """Return the error for a missing or unknown ``X-Appwrite-Project``."""
    return ApiError(
        HTTPStatus.NOT_FOUND,
        "project_not_found",
        "Project with the requested ID could not be found. Please check the value of the X-Appwrite-Project "
        "header to ensure the correct project ID is being used.",
    )


def missing_scope(role: str, scope: str) -> ApiError:
    """Return the error for a caller without ``scope``: ``guests`` if without a key, else ``applications``."""
    return ApiError(
        HTTPStatus.UNAUTHORIZED,
        "general_unauthorized_scope",
        f"(role: {role}) missing scope ({json.dumps([scope])})",
    )


def unavailable(advice: str = _ADVICE) -> ApiError:
    """Return the error for Redis or the database being out of reach; the response tells when to try again.

    Args:
        advice: what else whoever tries again should know, as a sentence.
    """
    return ApiError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "general_service_unavailable",
        f"The server cannot reach its store. {advice}",
    )


def out_of_reach(request: Request, error: Exception, advice: str = _ADVICE) -> ApiError:
    """Log that ``error`` kept the server from its store, and return :func:`unavailable`."""
    _LOG.warning("the store cannot be reached", path=request.url.path, error=_origin(error))
    return unavailable(advice)


def too_much_waits(request: Request, error: Exception) -> ApiError:
    """Log that an event was not published since too many wait, and return the error that says so, and what to start."""
    _LOG.error("nothing is published: too many events wait", path=request.url.path, advice=str(error))
    return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "general_service_unavailable", f"{error} Then try again.")


def to_response(error: ApiError) -> JSONResponse:
    """Return the response that tells ``error``."""
    headers = {"Cache-Control": "no-store"}
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if error.status == HTTPStatus.REQUEST_TIMEOUT:
        # RFC 9110 section 15.5.9. The rest of the body would be taken for the next request.
        headers["Connection"] = "close"
    body = {"message": str(error), "code": int(error.status), "type": error.type, "version": __version__}
    return JSONResponse(body, status_code=error.status, headers=headers)


def _http_error(_request: Request, error: HTTPException) -> ApiError:
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return ApiError(
                HTTPStatus.NOT_FOUND,
                "general_route_not_found",
                "Route not found. Please ensure the endpoint is configured correctly and that the API route "
                "is valid for this SDK version. Refer to the API docs for more details.",
            )
        case HTTPStatus.BAD_REQUEST:
            # FastAPI's, for a body that cannot be parsed.
            return bad_request(error.detail)
        case status_code:
            status = HTTPStatus(status_code)
            return ApiError(status, "general_" + status.name.lower(), error.detail)


def _database_error(request: Request, error: SQLAlchemyError) -> ApiError:
    match failure_of(error):
        case Failure.VALUE:
            return _not_storable(request, error)
        case Failure.CONFLICT:
            _LOG.warning("a unique key is taken", path=request.url.path, error=_origin(error))
            return ApiError(
                HTTPStatus.CONFLICT, "general_resource_already_exists", "The resource already exists."
            )
        case Failure.UNAVAILABLE:
            return out_of_reach(request, error)
        case Failure.MISTAKE:
            _LOG.error("a statement failed", path=request.url.path, exc_info=error)
            return _unknown(request, error)


def _origin(error: Exception) -> str:
    """Return the kind of the error, of the driver if it came from there; never a text, which may quote values."""
    return type(error.orig if isinstance(error, DBAPIError) and error.orig else error).__name__


def _not_storable(_request: Request, _error: Exception) -> ApiError:
    return bad_request(
        "A value cannot be stored: a number is out of range, or a text holds what is no character."
    )


def _unknown(_request: Request, _error: Exception) -> ApiError:
    # For other exceptions Starlette raises it again after the response, so the server logs the traceback.
    return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "general_unknown", "Server Error")


def _as_it_stands(_request: Request, error: ApiError) -> ApiError:
    return error


def _refused(_request: Request, error: Refused) -> ApiError:
    return error.error


def _client_error(_request: Request, error: ClientError) -> ApiError:
    # Of those, routes raise only what the credentials of a request are refused for; others have no HTTP status.
    status = error.code if error.code in _HTTP_STATUSES else HTTPStatus.BAD_REQUEST
    return ApiError(HTTPStatus(status), error.type, str(error))


def _invalid_request(_request: Request, error: RequestValidationError) -> ApiError:
    return bad_request(explain(error))


def _invalid(_request: Request, error: Exception) -> ApiError:
    return bad_request(str(error))


def _invalid_query(_request: Request, error: InvalidQueryError) -> ApiError:
    return ApiError(HTTPStatus.BAD_REQUEST, error.type, str(error))


def _too_deep(_request: Request, _error: RecursionError) -> ApiError:
    return bad_request("The request is nested too deeply.")


_LADDER: dict[type[Exception], Callable[[Request, Any], ApiError]] = {
    ApiError: _as_it_stands,
    Refused: _refused,
    ClientError: _client_error,
    HTTPException: _http_error,
    RequestValidationError: _invalid_request,
    InvalidEventError: _invalid,
    InvalidPermissionError: _invalid,
    InvalidQueryError: _invalid_query,
    # Nobody reads the answer to a request that was given up; but no traceback is due for it either.
    ClientDisconnect: _invalid,
    NotPublishedError: out_of_reach,
    TooMuchWaitsError: too_much_waits,
    WorkFullError: too_much_waits,
    RedisError: out_of_reach,
    OSError: out_of_reach,
    SQLAlchemyError: _database_error,
    # SQLite's driver raises these two itself, for what it is given to store.
    OverflowError: _not_storable,
    UnicodeEncodeError: _not_storable,
    RecursionError: _too_deep,
    Exception: _unknown,
}
"""What each kind of exception is told as; the nearest class counts."""


def install(app: FastAPI) -> None:
    """Make ``app`` answer every exception with a body of this module."""
    for exception_type, tell in _LADDER.items():
        app.add_exception_handler(exception_type, partial(_answer, tell))


async def _answer(
    tell: Callable[[Request, Any], ApiError], request: Request, error: Exception
) -> JSONResponse:
    response = to_response(tell(request, error))
    if isinstance(error, HTTPException) and error.headers:
        response.headers.update(error.headers)
    return response
