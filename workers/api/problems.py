"""Every refusal of the API that the SDKs know by its type: status, type and text, in one table.

``refuse(Problem.USER_NOT_FOUND)`` is the error to raise. Source: the error types of the API reference.
"""

import enum
from http import HTTPStatus
from typing import NamedTuple

from workers.api.errors import ApiError


class ProblemSpec(NamedTuple):
    """What one kind of refusal looks like to the caller."""

    status: HTTPStatus
    type: str
    text: str
    """The ``message``; a ``str.format`` template for the values given to :func:`refuse`."""


def _spec(status: int, error_type: str, text: str) -> ProblemSpec:
    return ProblemSpec(HTTPStatus(status), error_type, text)


class Problem(enum.Enum):
    """Every refusal. The value is its :class:`ProblemSpec`."""

    # Anywhere
    ARGUMENT = _spec(400, "general_argument_invalid", "{reason}")
    QUERY = _spec(400, "general_query_invalid", "{reason}")
    CURSOR_NOT_FOUND = _spec(
        400, "general_cursor_not_found", "The cursor is invalid. This can happen if the item represented by the "
        "cursor has been deleted."
    )  # fmt: skip
    RATE_LIMIT = _spec(
        429, "general_rate_limit_exceeded", "Rate limit for the current endpoint has been exceeded. Please try "
        "again after some time."
    )  # fmt: skip
    UNKNOWN_ORIGIN = _spec(403, "general_unknown_origin", "{reason}")
    REGION = _spec(
        401, "general_access_forbidden", "Project is not accessible in this region. Please make sure you are using "
        "the correct endpoint"
    )  # fmt: skip
    API_DISABLED = _spec(
        403, "general_api_disabled", "The requested API is disabled. You can enable the API from the Appwrite console."
    )  # fmt: skip
    BUSY = _spec(
        503, "general_service_unavailable", "The server has too much to do at the moment. Try again."
    )
    SERVICE_DISABLED = _spec(
        503, "general_service_disabled", "The requested service is disabled. You can enable the service from the "
        "Appwrite console."
    )  # fmt: skip
    FORBIDDEN_SCOPE = _spec(401, "general_unauthorized_scope", "{reason}")

    # People
    USER_UNAUTHORIZED = _spec(
        401, "user_unauthorized", "The current user is not authorized to perform the requested action."
    )  # fmt: skip
    USER_BLOCKED = _spec(
        401, "user_blocked", "The current user has been blocked. You can unblock the user by making a request to the "
        "User API's \"Update User Status\" endpoint or in the Console."
    )  # fmt: skip
    USER_NOT_FOUND = _spec(404, "user_not_found", "User with the requested ID could not be found.")
    USER_EXISTS = _spec(
        409, "user_already_exists", "A user with the same id, email, or phone already exists in this project."
    )  # fmt: skip
    USER_EMAIL_EXISTS = _spec(
        409, "user_email_already_exists", "A user with the same email already exists in the current project."
    )  # fmt: skip
    USER_PHONE_EXISTS = _spec(
        409, "user_phone_already_exists", "A user with the same phone number already exists in the current project."
    )  # fmt: skip
    USER_PHONE_NOT_FOUND = _spec(
        400, "user_phone_not_found", "The current user does not have a phone number associated with their account."
    )  # fmt: skip
    USER_CREDENTIALS = _spec(
        401, "user_invalid_credentials", "Invalid credentials. Please check the email and password."
    )  # fmt: skip
    PHONE_DISABLED = _spec(
        501, "general_phone_disabled", "Phone provider is not configured. Please check the API's documentation."
    )  # fmt: skip
    USER_TOKEN = _spec(401, "user_invalid_token", "Invalid token passed in the request.")
    USER_CODE = _spec(401, "user_invalid_code", "The specified code is not valid. Contact the project owner.")
    USER_SESSION_NOT_FOUND = _spec(
        404, "user_session_not_found", "The current user session could not be found."
    )
    USER_SESSION_EXISTS = _spec(
        401, "user_session_already_exists", "Creation of a session is prohibited when a session is active."
    )  # fmt: skip
    USER_PASSWORD_REUSED = _spec(
        400, "password_recently_used", "The password you are trying to use is similar to your previous password. For "
        "your security, please choose a different password and try again."
    )  # fmt: skip
    USER_PASSWORD_PERSONAL = _spec(
        400, "password_personal_data", "The password you are trying to use contains references to your name, email, "
        "phone or userID. For your security, please choose a different password and try again."
    )  # fmt: skip
    USER_PASSWORD_UNSET = _spec(
        400, "user_password_unset", "The current user does not have a password. Please set one first."
    )  # fmt: skip
    USER_TARGET_NOT_FOUND = _spec(404, "user_target_not_found", "The target could not be found.")
    USER_TARGET_EXISTS = _spec(409, "user_target_already_exists", "A target with the same ID already exists.")
    USER_IDENTITY_NOT_FOUND = _spec(
        404, "user_identity_not_found", "The identity could not be found. Please sign in with OAuth provider first."
    )  # fmt: skip
    USER_EMAIL_VERIFIED = _spec(409, "user_email_already_verified", "User email is already verified")
    USER_PHONE_VERIFIED = _spec(409, "user_phone_already_verified", "User phone is already verified")
    USER_COUNT = _spec(
        501, "user_count_exceeded", "The current project has exceeded the maximum number of users. Please check your "
        "user limit in the Appwrite console."
    )  # fmt: skip
    USER_EMAIL_NOT_FOUND = _spec(
        400, "user_email_not_found", "The current user does not have an email address associated with their account."
    )  # fmt: skip
    USER_EMAIL_NOT_VERIFIED = _spec(
        400, "user_email_not_verified", "The current user's email address is not verified."
    )  # fmt: skip
    PROVIDER_DISABLED = _spec(
        412, "project_provider_disabled", "The chosen OAuth provider is disabled. You can enable the OAuth provider "
        "using the Appwrite console."
    )  # fmt: skip
    TOKENS_DISABLED = _spec(
        501, "general_not_implemented", "This server makes no JSON Web Tokens: it has no secret to sign them with."
    )  # fmt: skip
    MORE_FACTORS = _spec(
        401, "user_more_factors_required", "More factors are required to complete the sign in process."
    )  # fmt: skip
    CHALLENGE_REQUIRED = _spec(
        401, "user_challenge_required", "A recently succeessful challenge is required to complete this action. A "
        "challenge is considered recent for 5 minutes."
    )  # fmt: skip
    AUTHENTICATOR_NOT_FOUND = _spec(
        404, "user_authenticator_not_found", "Authenticator could not be found on the current user."
    )  # fmt: skip
    AUTHENTICATOR_VERIFIED = _spec(
        409, "user_authenticator_already_verified", "This authenticator is already verified on the current user."
    )  # fmt: skip
    RECOVERY_CODES_EXIST = _spec(
        409, "user_recovery_codes_already_exists", "The current user already generated recovery codes and they can "
        "only be read once for security reasons."
    )  # fmt: skip
    RECOVERY_CODES_NOT_FOUND = _spec(
        404, "user_recovery_codes_not_found", "Recovery codes could not be found on the current user."
    )  # fmt: skip

    # Teams
    TEAM_NOT_FOUND = _spec(404, "team_not_found", "Team with the requested ID could not be found.")
    TEAM_ROLES_LIMIT = _spec(
        400, "team_roles_limit_exceeded", "The person holds as many roles in teams as anybody may."
    )
    TEAM_EXISTS = _spec(
        409, "team_already_exists", "Team with requested ID already exists. Please choose a different ID and try again."
    )  # fmt: skip
    TEAM_INVITE_EXISTS = _spec(
        409, "team_invite_already_exists", "User has already been invited or is already a member of this team"
    )  # fmt: skip
    TEAM_INVITE_NOT_FOUND = _spec(
        404, "team_invite_not_found", "The requested team invitation could not be found."
    )
    TEAM_INVALID_SECRET = _spec(401, "team_invalid_secret", "The team invitation secret is invalid.")
    TEAM_MISMATCH = _spec(
        404, "team_membership_mismatch", "The membership ID does not belong to the team ID."
    )
    TEAM_INVITE_MISMATCH = _spec(
        401, "team_invite_mismatch", "The invite does not belong to the current user."
    )
    MEMBERSHIP_NOT_FOUND = _spec(
        404, "membership_not_found", "Membership with the requested ID could not be found."
    )
    MEMBERSHIP_CONFIRMED = _spec(409, "membership_already_confirmed", "Membership is already confirmed.")

    # Databases
    DATABASE_NOT_FOUND = _spec(404, "database_not_found", "Database not found")
    DATABASE_EXISTS = _spec(409, "database_already_exists", "Database already exists")
    # Of a table, column or row, in the word of the API that was called.
    NOT_FOUND = _spec(404, "{word}_not_found", "{Word} with the requested ID could not be found.")
    EXISTS = _spec(
        409, "{word}_already_exists", "{Word} with the requested ID already exists. Try again with a different ID or "
        "use ID.unique() to generate a unique ID."
    )  # fmt: skip
    COLUMN_EXISTS = _spec(
        409, "{word}_already_exists", "{Word} with the requested key already exists. {Word} keys must be unique, try "
        "again with a different key."
    )  # fmt: skip
    COLUMN_VALUE = _spec(
        400, "{word}_value_invalid", "The {word} value is invalid. Please check the type, range and value of the "
        "{word}. {reason}"
    )  # fmt: skip
    COLUMN_RESIZE = _spec(
        400, "{word}_invalid_resize", "Existing data is too large for new size, truncate your existing data then try "
        "again."
    )  # fmt: skip
    COLUMN_DEFAULT = _spec(
        400, "{word}_default_unsupported", "Default values cannot be set for array or required {word}s."
    )  # fmt: skip
    COLUMN_LIMIT = _spec(
        400, "{word}_limit_exceeded", "The maximum number or size of {word}s for this table has been reached."
    )  # fmt: skip
    COLUMN_TYPE = _spec(400, "{word}_type_invalid", "The {word} type is invalid.")
    INDEX_NOT_FOUND = _spec(404, "{word}_not_found", "Index with the requested ID could not be found.")
    INDEX_EXISTS = _spec(
        409, "{word}_already_exists", "Index with the requested key already exists. Try again with a different key."
    )  # fmt: skip
    INDEX_INVALID = _spec(400, "{word}_invalid", "{reason}")
    INDEX_LIMIT = _spec(400, "{word}_limit_exceeded", "The maximum number of indexes has been reached.")
    ROW_STRUCTURE = _spec(400, "{word}_invalid_structure", "Invalid document structure: {reason}")
    ROW_PERMISSIONS = _spec(401, "user_unauthorized", "Permissions must be one of: ({roles})")
    ROW_BOUND = _spec(400, "{word}_limit_exceeded", "{reason}")
    ROW_RESTRICTED = _spec(
        403, "{word}_delete_restricted", "{Word} cannot be deleted because it is related to another {word}."
    )  # fmt: skip
    ROW_MISSING_DATA = _spec(400, "{word}_missing_data", "The {word} data is missing. Try again with {word} data "
        "populated")  # fmt: skip
    ROW_MISSING_PAYLOAD = _spec(
        400, "{word}_missing_payload", "The {word} data and permissions are missing. You must provide either {word} "
        "data or permissions to be updated."
    )  # fmt: skip
    TRANSACTION_NOT_FOUND = _spec(
        404, "transaction_not_found", "Transaction with the requested ID could not be found."
    )  # fmt: skip
    TRANSACTION_NOT_READY = _spec(
        400, "transaction_not_ready", "The transaction is not ready to be committed or changed: {reason}"
    )  # fmt: skip
    TRANSACTION_EXPIRED = _spec(
        410, "transaction_expired", "The transaction has expired. Please create a new one."
    )
    TRANSACTION_CONFLICT = _spec(
        409, "transaction_conflict", "The transaction has a conflict. Please resolve the conflict and try again."
    )  # fmt: skip
    TRANSACTION_LIMIT = _spec(
        400, "transaction_limit_exceeded", "The maximum number of operations per transaction has been exceeded."
    )  # fmt: skip

    # Storage
    BUCKET_NOT_FOUND = _spec(
        404, "storage_bucket_not_found", "Storage bucket with the requested ID could not be found."
    )
    BUCKET_EXISTS = _spec(
        409, "storage_bucket_already_exists", "A storage bucket with the requested ID already exists. Try again with "
        "a different ID or use ID.unique() to generate a unique ID."
    )  # fmt: skip
    FILE_NOT_FOUND = _spec(404, "storage_file_not_found", "The requested file could not be found.")
    FILE_EXISTS = _spec(
        409, "storage_file_already_exists", "A storage file with the requested ID already exists."
    )  # fmt: skip
    FILE_EMPTY = _spec(400, "storage_file_empty", "Empty file passed to the endpoint.")
    FILE_SIZE = _spec(
        400, "storage_invalid_file_size", "The file size is either not valid or exceeds the maximum allowed size. "
        "Please check the file. It may have at most {max_bytes} bytes."
    )  # fmt: skip
    CONTENT_RANGE = _spec(
        400, "storage_invalid_content_range", "Invalid content range. Please check the value of the Content-Range "
        "header. {reason}"
    )  # fmt: skip
    UPLOADS_LIMIT = _spec(
        429, "general_rate_limit_exceeded", "There are {limit} uploads of yours that are not complete. Complete or "
        "delete some of them before you begin another."
    )  # fmt: skip
    UPLOAD_NOT_FOUND = _spec(
        400, "storage_invalid_appwrite_id", "The value for x-appwrite-id header is invalid. It must be the ID that "
        "the first chunk was answered with, and the upload must not have been given up."
    )  # fmt: skip
    RANGE = _spec(
        416, "storage_invalid_range", "The requested range is not satisfiable. Please check the value of the Range "
        "header."
    )  # fmt: skip
    FILE_EXTENSION = _spec(
        400, "storage_file_type_unsupported", "The given file extension is not supported. The bucket takes "
        "only: {extensions}."
    )  # fmt: skip
    TRANSFORMATIONS_DISABLED = _spec(
        403, "storage_bucket_transformations_disabled", "Image transformations are disabled for the requested bucket."
    )  # fmt: skip
    IMAGE_UNREADABLE = _spec(
        400, "storage_file_type_unsupported", "The file is no image that can be drawn: JPEG, PNG, GIF, WebP or AVIF, "
        "and whole."
    )  # fmt: skip
    IMAGE_TOO_LARGE = _spec(
        400, "storage_invalid_file_size", "The image is too large to be drawn: it may have {size_bytes} bytes and "
        "{pixels} pixels, and must not take too long."
    )  # fmt: skip
    IMAGES_BUSY = _spec(
        503, "general_service_unavailable", "The server draws as many images as it can. Try again."
    )
    TOKEN_NOT_FOUND = _spec(404, "token_not_found", "The requested file token could not be found.")
    TOKEN_EXPIRED = _spec(401, "token_expired", "The requested file token has expired.")

    # Avatars
    PICTURES_MISSING = _spec(501, "general_not_implemented", "This server has no {what}.")
    AVATAR_IMAGE_NOT_FOUND = _spec(404, "avatar_image_not_found", "The requested image was not found.")
    AVATAR_ICON_NOT_FOUND = _spec(404, "avatar_icon_not_found", "The requested icon could not be found.")
    AVATAR_REMOTE_URL = _spec(
        404, "avatar_remote_url_failed", "Failed to fetch favicon from the requested URL."
    )

    # Messaging
    PROVIDER_NOT_FOUND = _spec(
        404, "provider_not_found", "Provider with the requested ID could not be found."
    )
    PROVIDER_EXISTS = _spec(409, "provider_already_exists", "Provider with the requested ID already exists.")
    PROVIDER_TYPE = _spec(
        400, "provider_incorrect_type", "Provider with the requested ID is of the incorrect type."
    )
    PROVIDER_CREDENTIALS = _spec(
        400, "provider_missing_credentials", "Provider with the requested ID is missing credentials: {names}."
    )  # fmt: skip
    TOPIC_NOT_FOUND = _spec(404, "topic_not_found", "Topic with the requested ID could not be found.")
    TOPIC_EXISTS = _spec(409, "topic_already_exists", "Topic with the requested ID already exists.")
    SUBSCRIBER_NOT_FOUND = _spec(
        404, "subscriber_not_found", "Subscriber with the requested ID could not be found."
    )
    SUBSCRIBER_EXISTS = _spec(
        409, "subscriber_already_exists", "Subscriber with the requested ID, or of this target, already exists."
    )  # fmt: skip
    MESSAGE_NOT_FOUND = _spec(404, "message_not_found", "Message with the requested ID could not be found.")
    MESSAGE_EXISTS = _spec(409, "message_already_exists", "Message with the requested ID already exists.")
    MESSAGE_NO_TARGET = _spec(
        400, "message_missing_target", "Message with the requested ID has no recipients (topics or users or targets)."
    )  # fmt: skip
    MESSAGE_SENT = _spec(400, "message_already_sent", "Message with the requested ID has already been sent.")
    MESSAGE_PROCESSING = _spec(
        400, "message_already_processing", "Message with the requested ID is already being processed."
    )
    MESSAGE_FAILED = _spec(400, "message_already_failed", "Message with the requested ID has already failed.")
    MESSAGE_TARGET_TYPE = _spec(
        400, "message_target_not_{type}", "Message with the target ID is not {article} {name} target."
    )  # fmt: skip

    # Functions
    FUNCTION_NOT_FOUND = _spec(
        404, "function_not_found", "Function with the requested ID could not be found."
    )
    FUNCTION_EXISTS = _spec(
        409, "function_already_exists", "Function with the requested ID already exists. Try again with a different ID "
        "or use ID.unique() to generate a unique ID."
    )  # fmt: skip
    FUNCTION_ENTRYPOINT = _spec(
        404, "function_entrypoint_missing", "Entrypoint for your Appwrite Function is missing. Please specify it when "
        "making deployment or update the entrypoint under your function's \"Settings\" > \"Configuration\" > "
        "\"Entrypoint\"."
    )  # fmt: skip
    FUNCTION_FORBIDDEN = _spec(401, "user_unauthorized", "{reason}")
    DEPLOYMENT_NOT_FOUND = _spec(
        404, "deployment_not_found", "Deployment with the requested ID could not be found."
    )
    DEPLOYMENT_NONE = _spec(
        404, "deployment_not_found", "Deployment not found. Create a deployment before trying to execute a function"
    )  # fmt: skip
    DEPLOYMENT_EXISTS = _spec(
        409, "deployment_already_exists", "Deployment with the requested ID already exists."
    )
    DEPLOYMENT_ARCHIVE = _spec(400, "deployment_archive_invalid", "The deployment is refused: {reason}")
    DEPLOYMENT_SOURCE = _spec(501, "general_not_implemented", "{reason}")
    BUILD_NOT_READY = _spec(
        400, "build_not_ready", "Build with the requested ID is building and not ready for execution."
    )
    BUILD_COMPLETED = _spec(
        400, "build_already_completed", "Build with the requested ID is already completed and cannot be canceled."
    )  # fmt: skip
    VARIABLE_NOT_FOUND = _spec(
        404, "variable_not_found", "Variable with the requested ID could not be found."
    )
    VARIABLE_EXISTS = _spec(
        409, "variable_already_exists", "Variable with the same ID or key already exists in this function."
    )  # fmt: skip
    VARIABLE_SECRET = _spec(
        400, "variable_cannot_unset_secret", "Secret variables cannot be marked as non-secret. Please re-create the "
        "variable if this is your intention."
    )  # fmt: skip
    VARIABLE_LIMIT = _spec(
        400, "variable_limit_exceeded", "The function has as many variables as it may have: {limit}."
    )
    EXECUTION_NOT_FOUND = _spec(
        404, "execution_not_found", "Execution with the requested ID could not be found."
    )
    EXECUTION_IN_PROGRESS = _spec(
        400, "execution_in_progress", "Can't delete ongoing execution. Please wait for execution to finish before "
        "deleting it."
    )  # fmt: skip
    EXECUTION_CUT_OFF = _spec(
        503, "general_service_unavailable", "The server stopped before the function had ended. The execution has "
        "failed, but the function may have done some of what it does."
    )  # fmt: skip

    # Health
    QUEUE_SIZE = _spec(
        503, "health_queue_size_exceeded", "Queue size threshold hit. Current size is {size} and threshold is set to "
        "{threshold}."
    )  # fmt: skip
    CERTIFICATES = _spec(
        501, "general_not_implemented", "This server knows no certificates: TLS is the business of the proxy in front."
    )  # fmt: skip

    # Webhooks
    WEBHOOK_NOT_FOUND = _spec(404, "webhook_not_found", "Webhook with the requested ID could not be found.")
    WEBHOOK_EXISTS = _spec(
        409, "webhook_already_exists", "Webhook with the same ID already exists. Try again with a different ID or use "
        "ID.unique() to generate a unique ID."
    )  # fmt: skip

    WEBHOOK_DISABLED = _spec(
        409, "webhook_disabled", "The webhook is disabled, so nothing is delivered to it. Enable it and try again."
    )  # fmt: skip
    DELIVERY_NOT_FOUND = _spec(
        404, "webhook_delivery_not_found", "Delivery with the requested ID could not be found."
    )

    # Presences
    PRESENCE_NOT_FOUND = _spec(
        404, "presence_not_found", "Presence with the requested ID could not be found."
    )
    PRESENCE_EXISTS = _spec(409, "presence_already_exists", "{reason}")
    PRESENCE_USER = _spec(
        401, "user_unauthorized", "userId is not allowed for non-API key and non-privileged users"
    )
    PRESENCE_USER_MISSING = _spec(400, "general_bad_request", "userId is required for API key authentication")

    # Projects
    PROJECT_NOT_FOUND = _spec(
        404, "project_not_found", "Project with the requested ID could not be found. Please check the value of the "
        "X-Appwrite-Project header to ensure the correct project ID is being used."
    )  # fmt: skip
    PROJECT_EXISTS = _spec(409, "project_already_exists", "Project with the requested ID already exists.")
    PROJECT_RESERVED = _spec(
        400, "project_reserved_name", "The project ID is reserved. Please choose another one."
    )
    PLATFORM_NOT_FOUND = _spec(
        404, "platform_not_found", "Platform with the requested ID could not be found."
    )
    PLATFORM_EXISTS = _spec(409, "platform_already_exists", "Platform with the requested ID already exists.")
    KEY_NOT_FOUND = _spec(404, "key_not_found", "Key with the requested ID could not be found.")
    KEY_EXISTS = _spec(409, "key_already_exists", "Key with the requested ID already exists.")


def refuse(problem: Problem, **values: str) -> ApiError:
    """Return the error that tells ``problem``; ``values`` fill the placeholders of its type and text.

    Problems of tables, columns, indexes and rows take the ``word`` of the API that was called, ``row`` or ``document``.
    """
    if "word" in values:
        values["Word"] = values["word"].replace("_", " ").capitalize()
    spec = problem.value
    return ApiError(spec.status, spec.type.format(**values), spec.text.format(**values))
