"""Query strings as the SDKs write them: names with brackets make lists and maps, as in PHP.

``a[]=1&a[]=2`` and ``a[0]=1&a[1]=2`` are lists, ``a[k]=1`` is a map, ``a[0][]=x`` a list in a list;
brackets may be percent-encoded. The module is pure. Source: wire specification 2.1.
"""

import re
from typing import TypeAlias, Union
from urllib.parse import unquote_to_bytes

from realtime.errors import ClientError, ErrorKind

MAX_PARAMETERS = 1000
"""Parameters in one query string, by default."""
MAX_DEPTH = 8
"""Pairs of brackets after one name, by default."""

QueryValue: TypeAlias = Union[str, "dict[int | str, QueryValue]"]
"""A text, or an array: an ordered map whose keys are integers for lists and texts otherwise."""

_NAME_SEPARATORS = str.maketrans(". ", "__")
_LATER_SEPARATORS = str.maketrans(". [", "___")
_INDEX = re.compile(r"0|-?[1-9][0-9]{0,17}")


class _Array(dict[int | str, QueryValue]):
    """An array under construction; it knows the key that the next ``[]`` gets."""

    __slots__ = ("next_index",)

    def __init__(self) -> None:
        super().__init__()
        self.next_index = 0

    def claim(self, key: str) -> int | str:
        """Return the key to use for ``key``: the next index if it is empty, an integer if it is one."""
        if key and not _INDEX.fullmatch(key):
            return key
        index = int(key) if key else self.next_index
        self.next_index = max(self.next_index, index + 1)
        return index


def parse_query_string(
    text: str, *, max_parameters: int = MAX_PARAMETERS, max_depth: int = MAX_DEPTH
) -> dict[str, QueryValue]:
    """Parse the part of a URL after the question mark.

    Args:
        text: ``name=value`` pairs joined by ``&``, percent-encoded UTF-8 with ``+`` for a space. What is
            not UTF-8 becomes U+FFFD.
        max_parameters: How many pairs there may be.
        max_depth: How many pairs of brackets may follow a name.

    Returns:
        Name to value in order of first appearance. In names, dots and spaces are underscores. The last value
        of a repeated name wins, be it a text or an array; a pair without a name is left out.

    Raises:
        ClientError: ``URL_LIMIT``, for more pairs or brackets than allowed.
    """
    pairs = [pair for pair in text.split("&") if pair]
    if len(pairs) > max_parameters:
        raise ClientError(
            ErrorKind.URL_LIMIT, reason=f"At most {max_parameters} parameters are allowed in the URL."
        )
    parameters: dict[str, QueryValue] = {}
    for pair in pairs:
        encoded_name, _, encoded_value = pair.partition("=")
        name, keys = _split_name(_decode(encoded_name), max_depth)
        if name:
            _assign(parameters, name, keys, _decode(encoded_value))
    return parameters


def _split_name(text: str, max_depth: int) -> tuple[str, list[str]]:
    """Split ``a.b[0][]`` into the name ``a_b`` and the keys ``["0", ""]``.

    Text after the last closing bracket is dropped. A bracket that is never closed is no bracket.
    """
    name, bracket, rest = text.lstrip(" ").partition("[")
    keys: list[str] = []
    while bracket:
        key, closing, after = rest.partition("]")
        if not closing:
            if not keys:
                name += "_" + rest.translate(_LATER_SEPARATORS)
            break
        if len(keys) == max_depth:
            raise ClientError(
                ErrorKind.URL_LIMIT, reason=f"Parameters may be nested at most {max_depth} levels deep."
            )
        keys.append(key)
        bracket, rest = after[:1] if after.startswith("[") else "", after[1:]
    return name.translate(_NAME_SEPARATORS), keys


def _assign(parameters: dict[str, QueryValue], name: str, keys: list[str], value: str) -> None:
    """Store ``value`` under ``name`` and the keys below it; a text in the way gives way to an array."""
    if not keys:
        parameters[name] = value
        return
    array = parameters.get(name)
    if not isinstance(array, _Array):
        array = parameters[name] = _Array()
    for key in keys[:-1]:
        index = array.claim(key)
        child = array.get(index)
        if not isinstance(child, _Array):
            child = array[index] = _Array()
        array = child
    array[array.claim(keys[-1])] = value


def _decode(text: str) -> str:
    if "%" not in text and "+" not in text and text.isascii():
        return text
    return unquote_to_bytes(text.replace("+", " ").encode("utf-8", "replace")).decode("utf-8", "replace")
