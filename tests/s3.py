"""A server that speaks S3, in a thread of the test run."""

import contextlib
import uuid
from collections.abc import Iterator

import httpx
from moto.server import ThreadedMotoServer


@contextlib.contextmanager
def running_s3() -> Iterator[str]:
    """Run the server on a free port; yield its URL."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def new_bucket(endpoint: str) -> str:
    """Make a bucket that nobody else uses, and return what the setting for files says of it."""
    bucket = f"bucket-{uuid.uuid4().hex}"
    httpx.put(f"{endpoint}/{bucket}").raise_for_status()
    return f"s3://key:secret@{bucket}/some/folder?region=us-east-1&endpoint={endpoint}"
