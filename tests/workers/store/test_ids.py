import re
import time
from types import SimpleNamespace

import pytest

from workers.store import ids
from workers.store.ids import choose_id, new_id


class TestNewId:
    def test_it_grows_with_time_and_never_repeats(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also decades from now."""
        moments = [time.time_ns() + years * 31_536_000 * 10**9 for years in (0, 0, 1, 9, 18, 50)]
        made = []
        for moment in moments:
            monkeypatch.setattr(ids, "time", SimpleNamespace(time_ns=lambda moment=moment: moment))
            made.append(new_id())
        assert all(re.fullmatch(r"[0-9a-f]{20}", each) for each in made)
        assert len(set(made)) == len(made)
        assert [each[:13] for each in made] == sorted(each[:13] for each in made)


class TestChooseId:
    def test_only_unique_is_replaced(self) -> None:
        assert choose_id("ada") == "ada"
        assert choose_id("unique()") not in ("unique()", choose_id("unique()"))
