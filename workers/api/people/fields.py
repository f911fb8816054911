"""The kinds of parameters that people need: e-mail addresses, phone numbers, passwords, preferences."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import orjson
from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BeforeValidator, Field

MAX_EMAIL_CHARS = 254
"""RFC 5321 section 4.5.3.1.3, without the angle brackets."""

MAX_PREFS_BYTES = 65_536
"""How large preferences may be, as JSON."""

MAX_PREFS_DEPTH = 100
"""How deeply preferences may be nested: lists of users, and events with users in them, add a few levels."""


def normalize_email(value: str) -> str:
    """Return an e-mail address as it is kept: the same for all spellings of it, in lower case.

    Raises:
        ValueError: it is none. The text is for whoever sent it.
    """
    try:
        # No look-up: it would tell senders when they are typed in, and fail when the resolver does.
        validated = validate_email(value, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise ValueError("Value must be a valid email address") from error
    return validated.normalized.lower()


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


def _check_prefs(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if _is_deeper(value, MAX_PREFS_DEPTH):
        raise ValueError(f"Value must be a JSON object that is nested at most {MAX_PREFS_DEPTH} deep")
    try:
        size_bytes = len(orjson.dumps(value))
    except TypeError as error:
        raise ValueError(
            "Value must be a JSON object of valid texts and numbers of at most 64 bits"
        ) from error
    if size_bytes > MAX_PREFS_BYTES:
        raise ValueError(f"Value must be a JSON object of at most {MAX_PREFS_BYTES} bytes")
    return value


def _is_deeper(value: object, depth: int) -> bool:
    level = [value]
    for _ in range(depth + 1):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return False
    return True


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


Email = Annotated[
    str,
    Field(min_length=1, max_length=MAX_EMAIL_CHARS, description="An e-mail address."),
    AfterValidator(normalize_email),
]
"""An e-mail address, in lower case once it is checked."""

Phone = Annotated[
    str,
    Field(
        pattern=r"^\+[1-9][0-9]{0,14}$",
        description="A phone number in E.164 form: a `+`, the country code and the number, at most 15 digits.",
    ),
]
"""A phone number, E.164."""

Password = Annotated[
    str, Field(min_length=8, max_length=256, description="A password of 8 to 256 characters.")
]
"""A new password, in plain text."""

OptionalEmail = Annotated[Email | None, BeforeValidator(_none_if_empty)]
"""An e-mail address, or none: null and the empty text."""

OptionalPhone = Annotated[Phone | None, BeforeValidator(_none_if_empty)]
"""A phone number, or none."""

OptionalPassword = Annotated[Password | None, BeforeValidator(_none_if_empty)]
"""A new password, or none."""

PersonName = Annotated[str, Field(max_length=128)]
"""A person's name; may be empty."""

Prefs = Annotated[
    dict[str, Any],
    AfterValidator(_check_prefs),
    Field(description="Preferences: any JSON object of up to 64 KB."),
]
"""Preferences of a person or a team."""
