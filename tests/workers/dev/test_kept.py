import stat
import threading
from pathlib import Path

import pytest

from workers.dev import kept


class TestReadOrCreate:
    def test_missing_file_is_made_for_its_owner_only(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "secret"
        secret = kept.read_or_create(path)
        assert len(secret.encode()) >= 32
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_text().strip() == secret

    def test_second_call_returns_the_same(self, tmp_path: Path) -> None:
        path = tmp_path / "secret"
        assert kept.read_or_create(path) == kept.read_or_create(path)

    def test_two_files_hold_different_secrets(self, tmp_path: Path) -> None:
        assert kept.read_or_create(tmp_path / "a") != kept.read_or_create(tmp_path / "b")

    def test_empty_file_is_replaced(self, tmp_path: Path) -> None:
        path = tmp_path / "secret"
        path.touch()
        secret = kept.read_or_create(path)
        assert secret
        assert kept.read(path) == secret
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_leaves_nothing_else_in_the_folder(self, tmp_path: Path) -> None:
        kept.read_or_create(tmp_path / "secret")
        assert [path.name for path in tmp_path.iterdir()] == ["secret"]

    def test_racing_calls_agree(self, tmp_path: Path) -> None:
        path = tmp_path / "secret"
        start = threading.Barrier(8)
        seen: list[str] = []

        def race() -> None:
            start.wait()
            seen.append(kept.read_or_create(path))

        threads = [threading.Thread(target=race) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(seen) == 8
        assert set(seen) == {path.read_text().strip()}

    def test_file_in_the_way_of_the_folder_raises(self, tmp_path: Path) -> None:
        (tmp_path / "folder").touch()
        with pytest.raises(OSError, match="folder"):
            kept.read_or_create(tmp_path / "folder" / "secret")


class TestRead:
    def test_missing_file_is_empty(self, tmp_path: Path) -> None:
        assert kept.read(tmp_path / "none") == ""
