"""A server of one page and the SDK that it loads, for tests with a browser."""

import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def serving(page: str, sdk: Path) -> Iterator[str]:
    """Serve ``page``, and ``sdk`` as ``/sdk.js``, and nothing else; yields the URL of the page."""

    class Files(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            body = {"/": page.encode(), "/sdk.js": sdk.read_bytes()}.get(path)
            self.send_response(200 if body is not None else 404)
            self.send_header("Content-Type", "text/javascript" if path == "/sdk.js" else "text/html")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the name is the base class's)
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        threading.Thread(
            target=functools.partial(server.serve_forever, poll_interval=0.05), daemon=True
        ).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
