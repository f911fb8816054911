import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from realtime.settings import Settings
from tests.mailbox import Mailbox
from tests.s3 import new_bucket, running_s3
from workers.cli.doctor_services import check_files, check_mail
from workers.cli.findings import Level


class TestCheckMail:
    def test_mail_that_is_only_logged_is_warned_of(self) -> None:
        finding = check_mail(Settings())
        assert (finding.level, "written to the log" in finding.text) == (Level.WARN, True)

    def test_server_that_answers_is_fine(self) -> None:
        with Mailbox() as mailbox:
            assert check_mail(Settings(smtp_url=mailbox.url)).level is Level.OK

    def test_server_that_is_away_fails_without_showing_its_password(
        self, free_port: Callable[[], int]
    ) -> None:
        finding = check_mail(Settings(smtp_url=f"smtp://me:hush@127.0.0.1:{free_port()}"))
        assert finding.level is Level.FAIL
        assert "me:***@127.0.0.1" in finding.text
        assert "hush" not in str(finding)

    def test_server_that_lets_nobody_in_fails(self) -> None:
        with Mailbox() as mailbox:
            url = mailbox.url.replace("smtp://", "smtp://me:hush@")
            finding = check_mail(Settings(smtp_url=url))
        assert (finding.level, "hush" in str(finding)) == (Level.FAIL, False)

    def test_server_that_says_nothing_fails(self, monkeypatch: pytest.MonkeyPatch, silent_port: int) -> None:
        monkeypatch.setattr("workers.cli.doctor_services.TIMEOUT_S", 0.2)
        finding = check_mail(Settings(smtp_url=f"smtp://127.0.0.1:{silent_port}"))
        assert (finding.level, finding.text.endswith("it does not answer")) == (Level.FAIL, True)

    @pytest.mark.parametrize("url", ["http://me:hush@host", "me:hush@host", "smtp://me:hush@host:port"])
    def test_what_is_no_mail_server_fails(self, url: str) -> None:
        finding = check_mail(Settings(smtp_url=url))
        assert (finding.level, "hush" in str(finding)) == (Level.FAIL, False)


class TestCheckFiles:
    def test_folder_is_not_made_by_asking(self, tmp_path: Path) -> None:
        assert check_files(Settings(data_dir=tmp_path)).level is Level.OK
        assert list(tmp_path.iterdir()) == []

    def test_folder_that_is_there_is_tried(self, tmp_path: Path) -> None:
        (tmp_path / "files").mkdir()
        assert check_files(Settings(data_dir=tmp_path)).level is Level.OK

    def test_file_in_its_place_fails(self, tmp_path: Path) -> None:
        (tmp_path / "files").touch()
        assert check_files(Settings(data_dir=tmp_path)).level is Level.FAIL

    def test_what_is_no_store_fails(self) -> None:
        finding = check_files(Settings(files_url="https://key:hush@bucket"))
        assert (finding.level, "hush" in str(finding)) == (Level.FAIL, False)

    def test_store_that_says_nothing_fails_without_showing_its_secret(
        self, monkeypatch: pytest.MonkeyPatch, silent_port: int
    ) -> None:
        monkeypatch.setattr("workers.cli.doctor_services.TIMEOUT_S", 0.5)
        endpoint = f"http://127.0.0.1:{silent_port}"
        finding = check_files(Settings(files_url=f"s3://key:hush@bucket?region=a&endpoint={endpoint}"))
        assert (finding.level, finding.text.endswith("it does not answer")) == (Level.FAIL, True)
        assert "hush" not in str(finding)

    @pytest.mark.integration
    def test_bucket_is_asked_for(self) -> None:
        with running_s3() as endpoint:
            url = new_bucket(endpoint)
            assert check_files(Settings(files_url=url)).level is Level.OK
            missing = check_files(Settings(files_url=url.replace("@bucket-", "@nowhere-")))
        assert missing.level is Level.FAIL


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that is connected to, and then says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
