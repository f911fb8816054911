"""What the benchmark of uploads shows must stay true: memory does not grow with files."""

import argparse
import asyncio
from pathlib import Path
from typing import cast

import pytest

from benchmarks.uploads import measure, running

pytestmark = pytest.mark.integration

MAX_GROWTH_MB = 32


class TestMemory:
    def test_it_stays_flat_for_files_of_any_size(self, tmp_path: Path) -> None:
        with running(tmp_path) as (server, url):
            rows = asyncio.run(measure(argparse.Namespace(megabytes=64), server, url))
        growth = {str(row[0]): cast("float", row[-1]) for row in rows}
        assert list(growth) == ["upload in one piece", "upload in chunks", "download"]
        assert all(grown < MAX_GROWTH_MB for grown in growth.values()), growth
