"""Every refusal of the HTTP API: its status, its type, and the body ``{message, code, type, version}``.

One ladder, :func:`install`, turns whatever a route raised into that body, so that no route builds an error
response. The types and texts are those that Appwrite's SDKs know.
"""

import json
from http import HTTPStatus

import structlog
from fastapi import FastAPI
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from realtime import __version__
from realtime.errors import InvalidEventError, InvalidPermissionError, NotPublishedError

RETRY_AFTER_S = 1
"""What clients are told to wait, in seconds, when Redis cannot be reached."""

_LOG = structlog.get_logger("realtime.api")


class ApiError(Exception):
    """A refusal that the caller is told as it stands; ``str(error)`` is the ``message``."""

    def __init__(self, status: HTTPStatus, error_type: str, message: str) -> None:
        self.status = status
        self.type = error_type
        super().__init__(message)


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


def unavailable() -> ApiError:
    """Return the error for Redis being out of reach; the response tells when to try again."""
    return ApiError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "general_service_unavailable",
        "The server cannot reach its store. Try again; a request that carries an Idempotency-Key takes "
        "effect once, however often it is repeated.",
    )


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


def install(app: FastAPI) -> None:
    """Make ``app`` answer every exception with a body of this module."""
    for exception_type in (
        ApiError,
        HTTPException,
        InvalidEventError,
        InvalidPermissionError,
        NotPublishedError,
        RedisError,
        ClientDisconnect,
        Exception,
    ):
        app.add_exception_handler(exception_type, _answer)


async def _answer(request: Request, error: Exception) -> JSONResponse:
    response = to_response(_as_api_error(request, error))
    if isinstance(error, HTTPException) and error.headers:
        response.headers.update(error.headers)
    return response


def _as_api_error(request: Request, error: Exception) -> ApiError:
    match error:
        case ApiError():
            return error
        case InvalidEventError() | InvalidPermissionError() | ClientDisconnect():
            # Nobody reads the answer to a request that was given up; but no traceback is due for it either.
            return bad_request(str(error))
        case NotPublishedError() | RedisError():
            _LOG.warning("the store cannot be reached", path=request.url.path, error=type(error).__name__)
            return unavailable()
        case HTTPException(status_code=HTTPStatus.NOT_FOUND):
            return ApiError(
                HTTPStatus.NOT_FOUND,
                "general_route_not_found",
                "Route not found. Please ensure the endpoint is configured correctly and that the API route "
                "is valid for this SDK version. Refer to the API docs for more details.",
            )
        case HTTPException():
            status = HTTPStatus(error.status_code)
            return ApiError(status, "general_" + status.name.lower(), error.detail)
        case _:
            # Starlette raises it again after the response, so the server logs the traceback.
            return ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "general_unknown", "Server Error")
