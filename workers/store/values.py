"""Values of rows, checked against their columns and brought into the form that is stored. Pure.

:func:`check_value` is the one rule, for rows and for the defaults of columns. The texts of its errors name the
attribute and what it must be, since callers are told them as they stand.
"""

import ipaddress
import math
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from email_validator import EmailNotValidError, validate_email

from workers.store.schema import Column
from workers.store.times import from_iso

INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1

MAX_CHARS = {"text": 16_383, "mediumtext": 4_194_303, "longtext": 1_073_741_823}
"""How long values of the types without a size may be, in characters; a request's body is limited before that."""

FORMAT_CHARS = {"email": 254, "url": 2000, "ip": 39}
"""How long values of formats may be, in characters."""

_ROW_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,35}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_NO_URL = re.compile(r"[\x00-\x20\x7f<>\"\\^`{|}]")


def check_value(column: Column, value: Any) -> Any:
    """Return ``value``, as it came out of JSON, as it is stored.

    Datetimes become texts of :mod:`workers.store.times`, numbers of ``double`` columns become floats; all else
    stays as it is. Lists may hold null unless the column is required.

    Raises:
        ValueError: the column does not take it. The text is for callers.
    """
    if value is None:
        if column.required:
            raise ValueError(f'Missing required attribute "{column.key}"')
        return None
    if not column.array:
        return _check(column, value, column.key)
    if not isinstance(value, list):
        raise _refused(column.key, "type. Value must be an array")
    return [
        None
        if element is None and not column.required
        else _check(column, element, f"{column.key}['{position}']")
        for position, element in enumerate(value)
    ]


def max_chars(column: Column) -> int:
    """Return how many characters a text of the column may have; 0 for types that are no text."""
    return column.size or MAX_CHARS.get(column.type, 0)


def _check(column: Column, value: Any, name: str) -> Any:
    try:
        return _CHECKS[column.type](column, value)
    except ValueError as error:
        raise _refused(name, str(error)) from None


def _refused(name: str, reason: str) -> ValueError:
    return ValueError(f'Attribute "{name}" has invalid {reason}')


def _invalid(rule: str, what: str = "type") -> ValueError:
    return ValueError(f"{what}. Value must be {rule}")


def _check_text(column: Column, value: Any) -> str:
    limit = max_chars(column)
    if not isinstance(value, str) or len(value) > limit:
        raise _invalid(f"a valid string and no longer than {limit} chars")
    # Neither database takes half a surrogate pair, and PostgreSQL takes no NUL.
    if "\0" in value or not (value.isascii() or _is_encodable(value)):
        raise _invalid("a valid string without NUL characters and lone surrogates")
    if column.format:
        _FORMATS[column.format](column, value)
    return value


def _is_encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_email(_column: Column, value: str) -> None:
    try:
        validate_email(value, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        raise _invalid("a valid email address", "format") from None


def _check_url(_column: Column, value: str) -> None:
    try:
        parts = urlsplit(value)
        is_url = bool(_SCHEME.fullmatch(parts.scheme) and parts.hostname and parts.port != 0)
    except ValueError:
        is_url = False
    if not is_url or _NO_URL.search(value):
        raise _invalid("a valid URL", "format")


def _check_ip(_column: Column, value: str) -> None:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise _invalid("a valid IP address", "format") from None
    if getattr(address, "scope_id", None):
        raise _invalid("a valid IP address without a zone", "format")


def _check_enum(column: Column, value: str) -> None:
    if value not in column.elements:
        raise _invalid(f"one of ({', '.join(column.elements)})", "format")


def _check_integer(column: Column, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not INTEGER_MIN <= value <= INTEGER_MAX:
        raise _invalid("a valid integer of 64 bits")
    _check_range(column, value)
    return value


def _check_double(column: Column, value: Any) -> float:
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _invalid("a valid float")
    _check_range(column, number)
    return number


def _check_range(column: Column, value: float) -> None:
    lowest = -math.inf if column.min is None else column.min
    highest = math.inf if column.max is None else column.max
    if not lowest <= value <= highest:
        raise _invalid(f"a valid range between {lowest:,} and {highest:,}", "format")


def _check_boolean(_column: Column, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _invalid("a valid boolean")
    return value


def _check_datetime(_column: Column, value: Any) -> str:
    try:
        return from_iso(value)
    except (TypeError, ValueError):
        raise _invalid("a valid date in ISO 8601, between the years 1 and 9999") from None


def _check_relationship(_column: Column, value: Any) -> str:
    if not isinstance(value, str) or not _ROW_ID.fullmatch(value):
        raise _invalid("the ID of a row")
    return value


def _is_number(value: Any, limit: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -limit <= value <= limit


def _is_point(value: Any) -> bool:
    return (
        isinstance(value, list) and len(value) == 2 and _is_number(value[0], 180) and _is_number(value[1], 90)
    )


def _is_line(value: Any, min_points: int = 2) -> bool:
    return isinstance(value, list) and len(value) >= min_points and all(map(_is_point, value))


def _is_ring(value: Any) -> bool:
    return _is_line(value, 4) and value[0] == value[-1]


def _check_point(_column: Column, value: Any) -> Any:
    if not _is_point(value):
        raise _invalid("a point: [longitude, latitude], in degrees")
    return value


def _check_line(_column: Column, value: Any) -> Any:
    if not _is_line(value):
        raise _invalid("a line: an array of two or more points, each [longitude, latitude]")
    return value


def _check_polygon(_column: Column, value: Any) -> Any:
    if not (isinstance(value, list) and value and all(map(_is_ring, value))):
        raise _invalid("a polygon: an array of rings, each of four or more points that end where they begin")
    return value


_CHECKS: dict[str, Callable[[Column, Any], Any]] = {
    "string": _check_text,
    "varchar": _check_text,
    "text": _check_text,
    "mediumtext": _check_text,
    "longtext": _check_text,
    "integer": _check_integer,
    "bigint": _check_integer,
    "double": _check_double,
    "boolean": _check_boolean,
    "datetime": _check_datetime,
    "point": _check_point,
    "linestring": _check_line,
    "polygon": _check_polygon,
    "relationship": _check_relationship,
}
"""For each type, the function that returns a value as it is stored, or raises how it is invalid."""

_FORMATS: dict[str, Callable[[Column, str], None]] = {
    "email": _check_email,
    "enum": _check_enum,
    "url": _check_url,
    "ip": _check_ip,
}
