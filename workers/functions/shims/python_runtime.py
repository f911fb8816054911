"""Calls the code of a function in Python, in the handler form of Open Runtimes: ``def main(context)``.

Run as ``python python_runtime.py DESCRIPTOR ROOT ENTRYPOINT``: of a stream socket, the folder of the code, and the path
of the file in it. A call comes over the socket as the lengths of a JSON text and of a body, four bytes each, and both;
the answer goes back in the same form. What the code logs goes to standard output, and its errors to standard error.
Ends with the socket. Runs with the standard library alone, of Python 3.8 and newer.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import socket
import struct
import sys
import traceback
import types
from typing import Any, BinaryIO, cast
from urllib.parse import parse_qsl

_LENGTHS = struct.Struct(">II")

_NATIVE = "Native logs detected. Use context.log() or context.error() for better experience.\n"

_BINARY_TYPES = ("application/", "audio/", "font/", "image/", "video/")


class HandlerError(Exception):
    """The code is not of the form that can be called; the text says what is wrong."""


class Request:
    """``context.req``. Members of several words can be had with underscores and in camel case."""

    def __init__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        self.method = method
        self.headers = headers
        self.body_binary = body
        self.path, _, self.query_string = path.partition("?")
        self.query = dict(parse_qsl(self.query_string, keep_blank_values=True))
        self.scheme = headers.get("x-forwarded-proto", "http")
        default_port = 443 if self.scheme == "https" else 80
        self.host, _, port = headers.get("host", "localhost").partition(":")
        self.port = int(port) if port.isdigit() else default_port
        shown = "" if self.port == default_port else f":{self.port}"
        self.url = f"{self.scheme}://{self.host}{shown}{path}"

    @property
    def body_text(self) -> str:
        """The body as text; what is not UTF-8 in it is replaced."""
        return self.body_binary.decode("utf-8", "replace")

    @property
    def body_json(self) -> Any:
        """What the body says as JSON. Raises :class:`ValueError` if it is none."""
        return json.loads(self.body_binary)

    @property
    def body(self) -> Any:
        """The body in the form that its content type asks for."""
        kind = self.headers.get("content-type", "text/plain").lower()
        if kind.startswith("application/json"):
            return self.body_json if self.body_binary else {}
        return self.body_binary if kind.startswith(_BINARY_TYPES) else self.body_text

    body_raw = body_text
    bodyText = body_text  # noqa: N815 - as Open Runtimes names it in other languages
    bodyRaw = body_text  # noqa: N815
    bodyJson = body_json  # noqa: N815

    @property
    def bodyBinary(self) -> bytes:  # noqa: N802
        """The body."""
        return self.body_binary

    @property
    def queryString(self) -> str:  # noqa: N802
        """The query string."""
        return self.query_string


class Response:
    """``context.res``: makes what the code returns."""

    def binary(self, data: bytes, status: int = 200, headers: dict[str, Any] | None = None) -> dict[str, Any]:
        """Answer with bytes."""
        return {"body": bytes(data), "status": status, "headers": headers or {}}

    def send(
        self, body: str | bytes, status: int = 200, headers: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Answer with text or bytes."""
        data = body if isinstance(body, (bytes, bytearray, memoryview)) else str(body).encode()
        return self.binary(data, status, headers)

    text = send

    def json(self, obj: Any, status: int = 200, headers: dict[str, Any] | None = None) -> dict[str, Any]:
        """Answer with JSON."""
        text = json.dumps(obj, separators=(",", ":"), ensure_ascii=False)
        return self.send(text, status, {"content-type": "application/json", **(headers or {})})

    def empty(self) -> dict[str, Any]:
        """Answer with nothing."""
        return self.binary(b"", 204)

    def redirect(self, url: str, status: int = 301, headers: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send whoever called elsewhere."""
        return self.binary(b"", status, {**(headers or {}), "location": url})


class Output(io.TextIOWrapper):
    """Standard output or error, that the code writes to in two ways: by its context, or past it."""

    def __init__(self, descriptor: int) -> None:
        file: BinaryIO = open(descriptor, "wb", closefd=False)  # noqa: SIM115
        super().__init__(file, encoding="utf-8", errors="backslashreplace", line_buffering=True)
        self.is_noted = False

    def write(self, text: str) -> int:
        """Write what was written past the context, with a note before the first of a call."""
        if not self.is_noted and text:
            self.is_noted = True
            super().write(_NATIVE)
        return super().write(text)

    def log(self, *messages: Any) -> None:
        """Write a line; lists and dictionaries as JSON."""
        super().write(" ".join(map(_shown, messages)) + "\n")
        self.flush()


class Context:
    """What the code is called with."""

    def __init__(self, request: Request, logs: Output, errors: Output) -> None:
        self.req = request
        self.res = Response()
        self.log = logs.log
        self.error = errors.log


class Handler:
    """The function ``main`` of the code, which is loaded when it is first called."""

    def __init__(self, root: str, entrypoint: str) -> None:
        self._root = os.path.realpath(root)
        self._entrypoint = entrypoint
        self._main: Any = None
        self._loop: Any = None

    def call(self, context: Context) -> Any:
        """Return what the code does. Raises whatever it does, or :class:`HandlerError`."""
        if self._main is None:
            self._main = self._load()
        result = self._main(context)
        if hasattr(result, "__await__"):
            result = self._run(result)
        if not isinstance(result, dict) or not {"body", "status", "headers"} <= result.keys():
            raise HandlerError(
                "Return statement missing. return context.res.empty() if no response is expected."
            )
        return result

    def _load(self) -> Any:
        path = os.path.realpath(os.path.join(self._root, self._entrypoint))
        if not path.startswith(self._root + os.sep) or not os.path.isfile(path):
            raise HandlerError(f"The deployment has no file {self._entrypoint!r}, which is its entrypoint.")
        parts = os.path.splitext(os.path.relpath(path, self._root))[0].split(os.sep)
        if any("." in part for part in parts):
            raise HandlerError(f"The entrypoint {self._entrypoint!r} is no name of a module.")
        # Relative imports see the root as a package, absolute ones find what is beside the entrypoint and in the root.
        sys.path[:1] = dict.fromkeys([os.path.dirname(path), self._root])
        package = types.ModuleType("function")
        package.__path__ = [self._root]
        sys.modules["function"] = package
        module = importlib.import_module(".".join(["function", *parts]))
        main = getattr(module, "main", None)
        if not callable(main):
            raise HandlerError(f"The file {self._entrypoint!r} has no function main(context).")
        return main

    def _run(self, result: Any) -> Any:
        import asyncio  # noqa: PLC0415 - it takes longer to import than most functions run

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return self._loop.run_until_complete(result)


def serve(stream: BinaryIO, handler: Handler, logs: Output, errors: Output) -> None:
    """Answer calls, one after the other, until there are no more."""
    process = os.getpid()
    while lengths := stream.read(_LENGTHS.size):
        head_bytes, body_bytes = _LENGTHS.unpack(lengths)
        head, body = json.loads(stream.read(head_bytes)), stream.read(body_bytes)
        logs.is_noted = errors.is_noted = False
        answer, content = _answer(handler, head, body, logs, errors)
        if os.getpid() != process:
            # A child that the code has forked, and that came back from it.
            os._exit(0)
        logs.flush()
        errors.flush()
        text = json.dumps(answer).encode()
        stream.write(_LENGTHS.pack(len(text), len(content)) + text)
        stream.write(content)
        stream.flush()


def _answer(
    handler: Handler, head: dict[str, Any], body: bytes, logs: Output, errors: Output
) -> tuple[dict[str, Any], bytes]:
    try:
        context = Context(Request(head["method"], head["path"], head["headers"], body), logs, errors)
        result = handler.call(context)
        headers = {str(name).lower(): str(value) for name, value in result["headers"].items()}
        return {"status": int(result["status"]), "headers": headers}, bytes(result["body"])
    except HandlerError as error:
        errors.log(str(error))
    except Exception:  # noqa: BLE001 - it is the code's
        errors.log(_traceback())
    return {"failed": True}, b""


def _traceback() -> str:
    """Return the traceback of what the code raised, without the lines of this file, and of what imports modules."""
    kind, error, trace = sys.exc_info()
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    if kind is None or error is None:
        return ""
    shown = traceback.TracebackException(kind, error, trace)
    causes: list[traceback.TracebackException | None] = [shown]
    while causes:
        each = causes.pop()
        if each is not None:
            each.stack[:] = [frame for frame in each.stack if not _is_importing(frame.filename)]
            causes += [each.__cause__, each.__context__]
    return "".join(shown.format()).rstrip()


def _is_importing(file: str) -> bool:
    return file == importlib.__file__ or file.startswith("<frozen importlib")


def _shown(message: Any) -> str:
    if isinstance(message, (dict, list)):
        try:
            return json.dumps(message, ensure_ascii=False, default=str)
        except (TypeError, ValueError):
            pass
    return str(message)


def main() -> None:
    """Serve the calls that come over the socket."""
    descriptor, root, entrypoint = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    # What the code starts has no use for it.
    os.set_inheritable(descriptor, False)
    logs, errors = Output(1), Output(2)
    sys.stdout, sys.stderr = logs, errors
    with socket.socket(fileno=descriptor) as connection, connection.makefile("rwb") as stream:
        serve(cast("BinaryIO", stream), Handler(root, entrypoint), logs, errors)


if __name__ == "__main__":
    main()
