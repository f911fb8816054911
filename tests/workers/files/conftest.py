"""What the tests of file stores share: each kind of store, empty, and files to be kept."""

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.s3 import new_bucket, running_s3
from workers.files.folder import FolderStore
from workers.files.s3 import S3Location, S3Store
from workers.files.store import FileStore


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A server that speaks S3, in a thread of this process."""
    with running_s3() as endpoint:
        yield endpoint


@pytest.fixture
def s3_url(s3_endpoint: str) -> str:
    """The URL of a bucket of that server which nobody else uses."""
    return new_bucket(s3_endpoint)


@pytest.fixture(params=["folder", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FileStore]:
    """An empty store; the test runs once on each kind."""
    opened: FileStore
    if request.param == "folder":
        opened = FolderStore(tmp_path / "files")
    else:
        opened = S3Store(S3Location.parse(request.getfixturevalue("s3_url")))
    yield opened
    await opened.aclose()


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Callable[[bytes], BinaryIO]]:
    """Return an open file that holds the given bytes."""
    files: list[BinaryIO] = []

    def make(data: bytes) -> BinaryIO:
        file: BinaryIO = tempfile.TemporaryFile(dir=tmp_path)  # noqa: SIM115 - closed below
        file.write(data)
        file.flush()
        files.append(file)
        return file

    yield make
    for file in files:
        file.close()
