import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.settings import Settings
from workers.store.sealing import Sealer, UnsealError


def seal_in_a_process(folder: Path, sealed: "multiprocessing.Queue[str]") -> None:
    sealed.put(Sealer.from_settings(Settings(data_dir=folder)).seal("a secret"))


class TestSealer:
    @given(st.text())
    def test_unsealed_is_what_was_sealed(self, secret: str) -> None:
        sealer = Sealer(["a key"])
        assert sealer.unseal(sealer.seal(secret)) == secret

    def test_sealed_shows_nothing_and_is_never_the_same(self) -> None:
        sealer = Sealer(["a key"])
        assert "a secret" not in sealer.seal("a secret")
        assert sealer.seal("a secret") != sealer.seal("a secret")

    def test_empty_secret_stays_empty(self) -> None:
        assert Sealer(["a key"]).seal("") == ""

    def test_older_key_still_unseals(self) -> None:
        sealed = Sealer(["old"]).seal("a secret")
        assert Sealer(["old", "new"]).unseal(sealed) == "a secret"

    def test_newest_key_seals(self) -> None:
        assert Sealer(["new"]).unseal(Sealer(["old", "new"]).seal("a secret")) == "a secret"

    def test_each_purpose_is_signed_with_keys_of_its_own(self) -> None:
        sealer = Sealer(["old", "new"])
        keys = [*sealer.signing_keys("a"), *sealer.signing_keys("b"), "old", "new"]
        assert len(set(keys)) == 6
        assert Sealer(["old"]).signing_keys("a") == sealer.signing_keys("a")[:1]

    @pytest.mark.parametrize("sealed", ["", "x"])
    def test_other_key_or_damage_is_an_error(self, sealed: str) -> None:
        sealed = sealed or Sealer(["old"]).seal("a secret")
        with pytest.raises(UnsealError, match="REALTIME_ENCRYPTION_KEYS"):
            Sealer(["new"]).unseal(sealed)

    def test_without_a_setting_the_key_is_kept_in_the_data_folder(self, tmp_path: Path) -> None:
        settings = Settings(data_dir=tmp_path / "data")
        sealed = Sealer.from_settings(settings).seal("a secret")
        assert Sealer.from_settings(settings).unseal(sealed) == "a secret"
        assert [path.name for path in settings.data_dir.iterdir()] == ["encryption.key"]
        assert (settings.data_dir / "encryption.key").stat().st_mode & 0o077 == 0


@pytest.mark.integration
class TestSeveralProcesses:
    def test_all_have_the_same_key(self, tmp_path: Path) -> None:
        context = multiprocessing.get_context("spawn")
        sealed: multiprocessing.Queue[str] = context.Queue()
        processes = [context.Process(target=seal_in_a_process, args=(tmp_path, sealed)) for _ in range(3)]
        for process in processes:
            process.start()
        texts = [sealed.get(timeout=60) for _ in processes]
        for process in processes:
            process.join()
        sealer = Sealer.from_settings(Settings(data_dir=tmp_path))
        assert [sealer.unseal(text) for text in texts] == ["a secret"] * 3
