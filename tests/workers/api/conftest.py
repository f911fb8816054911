"""What the tests of the API's services share: a running API on each kind of database."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from realtime.settings import Settings
from tests.api import Api, running_api


@pytest.fixture
def overrides() -> dict[str, Any]:
    """Settings that differ from those of `api`; a test file or class may define its own."""
    return {}


@pytest.fixture
async def api(
    database_url: str, redis_url: str, tmp_path: Path, overrides: dict[str, Any]
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
