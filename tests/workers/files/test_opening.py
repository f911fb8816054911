"""Which store the settings name."""

import sys
from pathlib import Path

import pytest

from realtime.settings import Settings
from workers.files.folder import FolderStore
from workers.files.opening import open_file_store
from workers.files.s3 import S3Store


class TestOpenFileStore:
    def test_no_url_is_a_folder(self, tmp_path: Path) -> None:
        assert isinstance(open_file_store(Settings(data_dir=tmp_path)), FolderStore)

    def test_a_url_is_s3(self) -> None:
        assert isinstance(open_file_store(Settings(files_url="s3://bucket")), S3Store)

    def test_another_url_is_refused_without_what_is_in_it(self) -> None:
        with pytest.raises(ValueError, match="REALTIME_FILES_URL") as raised:
            open_file_store(Settings(files_url="ftp://me:s3cret@host/path"))
        assert "s3cret" not in str(raised.value)

    def test_s3_without_its_library_is_refused_plainly(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(sys.modules, "workers.files.s3", raising=False)
        monkeypatch.setitem(sys.modules, "aiobotocore.config", None)
        with pytest.raises(ValueError, match="realtime-hub\\[s3\\]"):
            open_file_store(Settings(files_url="s3://bucket"))

    def test_the_url_is_not_shown_with_the_settings(self) -> None:
        assert "s3cret" not in repr(Settings(files_url="s3://key:s3cret@bucket"))
