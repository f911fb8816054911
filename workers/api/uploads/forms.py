"""A multipart form as it arrives: fields are kept, the bytes of its one file are handed on. Does no I/O.

Source: RFC 7578. The SDKs write members of lists as ``permissions[]`` or ``permissions[0]``; others give a field of the
same name several times.
"""

import re
from collections.abc import Mapping

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

MAX_FIELDS = 256
MAX_FIELD_BYTES = 131_072
"""Of all fields together, with their names."""

_MAX_HEADER_BYTES = 8_192
_MEMBER = re.compile(r"(.+?)\[[0-9]{0,6}\]")


class InvalidFormError(ValueError):
    """The body is no form that could be taken; the text says why."""


class Form:
    """Reads a form piece by piece.

    Args:
        content_type: The header of the request.
        file_part: What the part is called that is the file.

    Raises:
        InvalidFormError: the header does not announce a form; so do :meth:`feed` and :meth:`finish`.
    """

    def __init__(self, content_type: str, file_part: str) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise InvalidFormError("The body must be multipart/form-data with a boundary.")
        self._file_part = file_part
        # The file's name and type as the client claims them; None until it is met.
        self.file_name: str | None = None
        self.file_type = ""
        self._fields: list[tuple[str, str]] = []
        self._field_bytes = 0
        # Of the part that is being read.
        self._headers: dict[str, str] = {}
        self._header_name = b""
        self._header_value = b""
        self._name: str | None = None
        self._value = bytearray()
        self._in_file = False
        # What was read of the file since the last call.
        self._read = bytearray()
        self._is_complete = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._read_header_name,
                    "on_header_value": self._read_header_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._read_data,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
                max_header_size=_MAX_HEADER_BYTES,
            )
        except FormParserError as error:
            raise InvalidFormError(str(error)) from error

    def feed(self, data: bytes) -> bytes:
        """Take the next piece of the body, and return the bytes of the file in it."""
        self._read = bytearray()
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise InvalidFormError("The body is no well-formed multipart/form-data.") from error
        return bytes(self._read)

    def finish(self) -> Mapping[str, str | list[str]]:
        """Take note that the body has ended, and return the fields; ``name[]`` and repeated ones are lists."""
        if not self._is_complete:
            raise InvalidFormError("The form ends too early.")
        fields: dict[str, str | list[str]] = {}
        for name, value in self._fields:
            member = _MEMBER.fullmatch(name)
            if member is None:
                former = fields.get(name)
                fields[name] = value if former is None else [*_listed(former), value]
                continue
            values = fields.setdefault(member[1], [])
            if not isinstance(values, list):
                raise InvalidFormError(f"Param {member[1]} is given both as a value and as a list.")
            values.append(value)
        return fields

    def _begin_part(self) -> None:
        self._headers = {}
        self._name = None
        self._value = bytearray()
        self._in_file = False

    def _read_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _read_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header_name.decode("latin-1").lower()] = self._header_value.decode("latin-1")
        self._header_name = self._header_value = b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", ""))
        if b"name" not in options:
            raise InvalidFormError("A part of the form has no name.")
        self._name = _decode(options[b"name"])
        if b"filename" not in options:
            return
        if self._name != self._file_part or self.file_name is not None:
            raise InvalidFormError(f"The form must have one file, called {self._file_part}.")
        self._in_file = True
        self.file_name = _decode(options[b"filename"], errors="replace")
        self.file_type = self._headers.get("content-type", "")

    def _read_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._read += memoryview(data)[start:end]
            return
        self._count(end - start)
        self._value += data[start:end]

    def _end_part(self) -> None:
        if self._in_file or self._name is None:
            return
        self._count(len(self._name))
        if len(self._fields) >= MAX_FIELDS:
            raise InvalidFormError(f"The form has more than {MAX_FIELDS} fields.")
        value = _decode(bytes(self._value))
        if "\x00" in value or "\x00" in self._name:
            raise InvalidFormError("A field of the form holds a NUL character, which cannot be stored.")
        self._fields.append((self._name, value))

    def _count(self, size_bytes: int) -> None:
        self._field_bytes += size_bytes
        if self._field_bytes > MAX_FIELD_BYTES:
            raise InvalidFormError(f"The fields of the form are larger than {MAX_FIELD_BYTES} bytes.")

    def _end(self) -> None:
        self._is_complete = True


def _listed(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


def _decode(value: bytes, errors: str = "strict") -> str:
    try:
        return value.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        raise InvalidFormError("A field of the form is not UTF-8.") from error
