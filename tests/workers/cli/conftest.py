"""Every command here runs in an environment of its own, with a data folder that is new."""

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def data_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in list(os.environ):
        if name.startswith("REALTIME_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("REALTIME_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"
