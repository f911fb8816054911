"""What the tests of the API's services share: a running API on each kind of database."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import argon2
import pytest

from realtime.settings import Settings
from tests.api import Api, running_api
from tests.engines import Engines
from workers.api import services
from workers.api.people import hashes

_CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
def overrides() -> dict[str, Any]:
    """Settings that differ from those of `api`; a test file or class may define its own."""
    return {}


@pytest.fixture(scope="session")
def engines() -> Engines:
    """The engines that the tests of the API use one after the other."""
    return Engines()


@pytest.fixture
def hastened(monkeypatch: pytest.MonkeyPatch, engines: Engines) -> None:
    """Have the API do at little cost what takes most of a test's time: hash passwords and compile statements."""
    monkeypatch.setattr(hashes, "ARGON2", _CHEAP)
    monkeypatch.setattr(services, "open_database", engines.open)


@pytest.fixture
async def api(
    database_url: str, redis_url: str, tmp_path: Path, overrides: dict[str, Any], hastened: None
) -> AsyncIterator[Api]:
    """The API with the project `demo`, without limits on rates. Take `overrides` to change settings."""
    settings = Settings(
        database_url=database_url,
        redis_url=redis_url,
        data_dir=tmp_path,
        secret="a-secret-that-signs-the-tokens-of-tests",
        limits="off",
    )
    async with running_api(settings.model_copy(update=overrides)) as api:
        yield api
