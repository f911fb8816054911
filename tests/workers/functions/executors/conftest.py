"""What the tests of executors share: deployments of a few files, and calls of them."""

import dataclasses
import gzip
import io
import itertools
import sys
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from workers.files.folder import FolderStore
from workers.functions.executor import Call, Code, Outcome
from workers.functions.executors.process import ProcessExecutor
from workers.functions.executors.runtimes import Runtimes

_OF_CALL = {field.name for field in dataclasses.fields(Call)}

RUNTIMES = Runtimes(
    python=sys.executable, node="node", endpoint="http://api.test/v1", memory_bytes=256 * 1024 * 1024
)


def packed(files: Mapping[str, str]) -> bytes:
    """Return a tar.gz with these files."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return gzip.compress(file.getvalue())


@pytest.fixture
def files(tmp_path: Path) -> FolderStore:
    """Where archives are kept."""
    return FolderStore(tmp_path / "files")


@pytest.fixture
def deploy(files: FolderStore, tmp_path: Path) -> Callable[..., Awaitable[Call]]:
    """Deploy code, of one file or several; return a call of it, of which anything may be said."""
    numbers = itertools.count(1)

    async def deploy(source: str | Mapping[str, str], **said: Any) -> Call:
        names = {field.name for field in dataclasses.fields(Code)}
        runtime = said.setdefault("runtime", "python-3.11")
        entrypoint = said.setdefault("entrypoint", "main.js" if runtime.startswith("node") else "main.py")
        archive = packed({entrypoint: source} if isinstance(source, str) else source)
        (tmp_path / "archive").write_bytes(archive)
        deployment_id = f"d{next(numbers)}"
        key = f"demo/deployment/{deployment_id}"
        with (tmp_path / "archive").open("rb") as file:
            await files.put(key, file, len(archive))
        code: dict[str, Any] = {
            "function_id": "hello",
            "name": "Hello",
            "commands": "",
            "timeout_s": 15,
            "scopes": (),
            "deployment_id": deployment_id,
            "storage_key": key,
            "size_bytes": len(archive),
        }
        call: dict[str, Any] = {
            "project_id": "demo",
            "execution_id": "e",
            "trigger": "http",
            "method": "POST",
            "path": "/",
            "headers": {},
            "body": b"",
            "variables": dict,
        }
        for name, value in said.items():
            (code if name in names else call)[name] = value
        return Call(code=Code(**code), **call)

    return deploy


@pytest.fixture
def make_executor(files: FolderStore, tmp_path: Path) -> Callable[..., ProcessExecutor]:
    """Make an executor with small limits; whoever does closes it."""

    def make(**changes: Any) -> ProcessExecutor:
        limits: dict[str, Any] = {"max_output_bytes": 10_000, "max_response_bytes": 1_000_000}
        return ProcessExecutor(tmp_path / "functions", files, RUNTIMES, **{**limits, **changes})

    return make


@pytest.fixture
async def executor(make_executor: Callable[..., ProcessExecutor]) -> AsyncIterator[ProcessExecutor]:
    """An executor, whose processes have ended when the test has."""
    executor = make_executor()
    yield executor
    await executor.aclose()


@pytest.fixture
def run(
    executor: ProcessExecutor, deploy: Callable[..., Awaitable[Call]]
) -> Callable[..., Awaitable[Outcome]]:
    """Deploy code, unless the test has done that before, and call it once."""
    deployed: dict[str, Call] = {}

    async def run(source: str | Mapping[str, str], **said: Any) -> Outcome:
        of_call = {name: said.pop(name) for name in list(said) if name in _OF_CALL}
        key = repr((source, said))
        if key not in deployed:
            deployed[key] = await deploy(source, **said)
        return await executor.execute(dataclasses.replace(deployed[key], **of_call))

    return run
