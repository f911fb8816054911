"""Every error of the system, each with the one place where its code and text are written.

Two families. :class:`RealtimeError` and its subclasses are raised by the library to whoever called it (a
publisher, an HTTP route, a command). :class:`ClientError` is what a WebSocket client is told: an ``error`` frame,
and for some a close. Its codes and texts are fixed by the wire specification, sections 2.3, 4 and 6.2, and stand
in :class:`ErrorKind`. The module is pure and imports nothing of the project.
"""

import enum
from typing import NamedTuple


class CloseCode(enum.IntEnum):
    """WebSocket close codes the hub sends (RFC 6455 section 7.4, wire specification 1.5)."""

    GOING_AWAY = 1001
    """The server drains or restarts; come back."""
    INVALID_DATA = 1007
    """A text frame was not UTF-8."""
    POLICY_VIOLATION = 1008
    """Refused for good; the SDKs do not come back after it."""
    MESSAGE_TOO_BIG = 1009
    """A message was larger than the limit."""
    INTERNAL_ERROR = 1011
    """The server failed; come back."""
    TRY_AGAIN_LATER = 1013
    """Too many connections, or too slow a reader; come back."""


class ErrorSpec(NamedTuple):
    """What one kind of client error looks like on the wire."""

    code: int
    """``data.code`` of the error frame."""
    type: str
    """The error's name in the HTTP API and in logs."""
    text: str
    """``data.message``; a ``str.format`` template for the values given to :class:`ClientError`."""
    close_code: CloseCode | None
    """With which code the connection is closed after the frame; None keeps it open."""


class ErrorKind(enum.Enum):
    """Every error a WebSocket client can be told. The value is its :class:`ErrorSpec`."""

    # While a connection opens (wire specification 2.3): all of them close it.
    PROJECT_UNKNOWN = ErrorSpec(
        1008, "realtime_policy_violation", "Missing or unknown project ID", CloseCode.POLICY_VIOLATION
    )
    ORIGIN_REFUSED = ErrorSpec(1008, "realtime_policy_violation", "{reason}", CloseCode.POLICY_VIOLATION)
    URL_QUERY_INVALID = ErrorSpec(1008, "general_query_invalid", "{reason}", CloseCode.POLICY_VIOLATION)
    URL_LIMIT = ErrorSpec(1008, "realtime_limit_exceeded", "{reason}", CloseCode.POLICY_VIOLATION)
    TOO_MANY_CONNECTIONS = ErrorSpec(
        1013, "realtime_too_many_messages", "Too many requests", CloseCode.TRY_AGAIN_LATER
    )
    PROJECT_FULL = ErrorSpec(
        1013,
        "realtime_too_many_connections",
        "Too many connections to this project",
        CloseCode.TRY_AGAIN_LATER,
    )
    REGION_MISMATCH = ErrorSpec(
        401,
        "general_access_forbidden",
        "Project is not accessible in this region. Please make sure you are using the correct endpoint",
        CloseCode.POLICY_VIOLATION,
    )
    API_DISABLED = ErrorSpec(
        403,
        "general_api_disabled",
        "The requested API is disabled. You can enable the API from the Appwrite console.",
        CloseCode.POLICY_VIOLATION,
    )
    JWT_AND_SESSION = ErrorSpec(
        403,
        "user_jwt_and_cookie_set",
        "JWT and cookie used in the same request. Use either `setJWT` or `setCookie`. Learn about which "
        "authentication method to use in the SSR docs: "
        "https://appwrite.io/docs/products/auth/server-side-rendering",
        CloseCode.POLICY_VIOLATION,
    )
    JWT_INVALID = ErrorSpec(
        401, "user_jwt_invalid", "Failed to verify JWT. {reason}", CloseCode.POLICY_VIOLATION
    )
    KEY_AND_SESSION = ErrorSpec(
        403,
        "user_api_key_and_session_set",
        "API key and session used in the same request. Use either `setSession` or `setKey`. Learn about which "
        "authentication method to use in the SSR docs: "
        "https://appwrite.io/docs/products/auth/server-side-rendering",
        CloseCode.POLICY_VIOLATION,
    )
    KEY_INVALID = ErrorSpec(
        401, "general_unauthorized_key", "The API key is unknown or has expired.", CloseCode.POLICY_VIOLATION
    )
    UNAVAILABLE = ErrorSpec(
        503,
        "general_service_unavailable",
        "The server cannot reach its store. Try again.",
        CloseCode.TRY_AGAIN_LATER,
    )
    SERVER_ERROR = ErrorSpec(500, "general_server_error", "Error: Server Error", CloseCode.INTERNAL_ERROR)

    # In answer to a message (wire specification 4): only 1008 closes.
    TOO_MANY_MESSAGES = ErrorSpec(1013, "realtime_too_many_messages", "Too many messages.", None)
    MESSAGE_FORMAT = ErrorSpec(1003, "realtime_message_format_invalid", "Message format is not valid.", None)
    MESSAGE_TYPE = ErrorSpec(1003, "realtime_message_format_invalid", "Message type is not valid.", None)
    PROJECT_MISSING = ErrorSpec(
        1008,
        "realtime_policy_violation",
        "Missing project context. Reconnect to the project first.",
        CloseCode.POLICY_VIOLATION,
    )
    PARAMETER_MISSING = ErrorSpec(
        1003, "realtime_message_format_invalid", "Payload is not valid. {name} is required", None
    )
    PARAMETER_INVALID = ErrorSpec(1003, "realtime_message_format_invalid", "{name}: {reason}", None)
    QUERY_INVALID = ErrorSpec(1003, "realtime_message_format_invalid", "Invalid query: {reason}", None)
    SESSION_INVALID = ErrorSpec(1003, "realtime_message_format_invalid", "Session is not valid.", None)
    CREDENTIAL_INVALID = ErrorSpec(1003, "realtime_message_format_invalid", "{reason}", None)
    IMPERSONATED = ErrorSpec(
        1003,
        "realtime_message_format_invalid",
        "Cannot re-authenticate on an impersonated connection.",
        None,
    )
    LIMIT_EXCEEDED = ErrorSpec(1003, "realtime_limit_exceeded", "{reason}", None)
    TAIL_NOT_CONSOLE = ErrorSpec(
        1008,
        "realtime_policy_violation",
        "Console live tail is only available on the console connection.",
        CloseCode.POLICY_VIOLATION,
    )
    TAIL_REFUSED = ErrorSpec(
        1008,
        "realtime_policy_violation",
        'Not authorized to tail project "{project}".',
        CloseCode.POLICY_VIOLATION,
    )
    PRESENCE_NO_PROJECT = ErrorSpec(
        1008, "realtime_policy_violation", "Presence requires a project context.", CloseCode.POLICY_VIOLATION
    )
    PRESENCE_DISABLED = ErrorSpec(
        # Not 503 as the API has it: clients try again after that.
        403,
        "general_service_disabled",
        "The requested service is disabled. You can enable the service from the Appwrite console.",
        None,
    )
    PRESENCE_NO_USER = ErrorSpec(401, "user_unauthorized", "User must be authorized", None)
    PRESENCE_USER_UNKNOWN = ErrorSpec(
        404, "user_not_found", "User with the requested ID could not be found.", None
    )
    PRESENCE_PERMISSIONS = ErrorSpec(401, "user_unauthorized", "{reason}", None)
    PRESENCE_INVALID = ErrorSpec(
        400, "document_invalid_structure", "Invalid document structure: {reason}", None
    )
    PRESENCE_EXISTS = ErrorSpec(409, "presence_already_exists", "{reason}", None)


class RealtimeError(Exception):
    """The root of every error that the library raises on purpose.

    ``str(error)`` is the message: for people, without secrets.
    """

    type = "general_unknown"
    """A stable name for programs, as in the ``type`` member of HTTP errors."""
    retryable = False
    """Whether the same call may succeed later, unchanged."""


class InvalidEventError(RealtimeError):
    """An event's name, parameters, payload or channels break a rule; nothing was published."""

    type = "general_argument_invalid"


class InvalidPermissionError(RealtimeError):
    """A permission or role string is not of a known form."""

    type = "general_argument_invalid"


class InvalidQueryError(RealtimeError):
    """A query does not parse, or its method is not allowed; the message is the text of wire spec 6.2."""

    type = "general_query_invalid"


class InvalidCredentialError(RealtimeError):
    """A token or key was presented and is not valid; ``str(error)`` says why without quoting it."""

    type = "user_jwt_invalid"


class PresenceInvalidError(RealtimeError):
    """A member of a presence is not what it may be; ``name`` says which."""

    type = "document_invalid_structure"

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(f'Attribute "{name}" has invalid format. {reason}')


class PresenceExistsError(RealtimeError):
    """The ID for a new presence is that of another user's presence (wire specification 13.1)."""

    type = "presence_already_exists"

    def __init__(self, presence_id: str) -> None:
        super().__init__(
            f"Presence with the requested ID '{presence_id}' already exists. Try again with a different ID or use "
            "ID.unique() to generate a unique ID."
        )


class NotPublishedError(RealtimeError):
    """Redis did not confirm a publish within the whole retry window.

    The event may or may not have been published: the answer to the last attempt can be lost after it got through.
    Repeat it with the same idempotency key.
    """

    type = "general_service_unavailable"
    retryable = True


class TooMuchWaitsError(NotPublishedError):
    """The event was not published: too many events wait for webhooks or for functions. The text says what to start."""


class ClientError(RealtimeError):
    """An error that a WebSocket client is told.

    ``values`` fill the placeholders of the kind's text, for example ``ClientError(ErrorKind.PARAMETER_MISSING,
    name="Session")``.
    """

    def __init__(self, kind: ErrorKind, /, **values: str) -> None:
        self.kind = kind
        self.code = kind.value.code
        self.type = kind.value.type
        self.close_code = kind.value.close_code
        super().__init__(kind.value.text.format(**values))
