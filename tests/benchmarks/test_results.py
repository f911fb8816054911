"""From a table to the results that are kept, and from those to the page and the picture."""

import argparse
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import common
from benchmarks.common import Table, kept, show
from benchmarks.picture import draw
from benchmarks.report import filled

FANOUT = Table(
    "fanout",
    "Deliveries",
    ["server", "connections", "bytes", "", "per CPU s"],
    [
        ["hub", 1_000, 1_600, "plain", 200_123.4],
        ["hub", 1_000, 1_600, "compressed", 190_000.0],
        ["Bun", 1_000, 1_600, "plain", 250_000.0],
        ["Node ws", 1_000, 1_600, "plain", "Node.js or its package ws is not installed"],
        ["websockets", 100, 1_600, "plain", 123_456.0],
    ],
    ["A note with 2 * 3."],
)
MEMORY = Table(
    "memory",
    "Memory",
    ["server", "connections", "bytes each"],
    [["hub", 10_000, 4_000.0], ["Bun", 10_000, 6_000.0], ["Bun, compressing", 10_000, 90_000.0]],
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path / "results")


def keep(table: Table) -> None:
    show(table, argparse.Namespace(no_save=False))


class TestShow:
    def test_keeps_the_table(self) -> None:
        keep(FANOUT)
        table = kept("fanout")
        assert table is not None
        assert table["columns"] == FANOUT.columns
        assert table["rows"][0] == ["hub", 1_000, 1_600, "plain", 200_100.0]
        assert table["notes"] == FANOUT.notes

    def test_told_not_to_save_keeps_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        show(FANOUT, argparse.Namespace(no_save=True))
        assert "200,123" in capsys.readouterr().out
        assert kept("fanout") is None


class TestFilled:
    def test_page_has_the_kept_tables_and_keeps_the_rest(self) -> None:
        page = (
            "before\n<!-- table: fanout -->\nold\n<!-- end -->\n<!-- table: memory -->\nold\n<!-- end -->\n"
        )
        keep(FANOUT)
        new = filled(page)
        assert new.startswith(
            "before\n<!-- table: fanout -->\n\n| server | connections | bytes | | per CPU s |\n"
        )
        assert "| hub | 1,000 | 1,600 | plain | 200,100 |" in new
        assert r"2 \* 3" in new
        assert new.endswith("<!-- table: memory -->\nold\n<!-- end -->\n")
        assert filled(new) == new


class TestDraw:
    def test_without_results_is_an_empty_picture(self) -> None:
        assert ET.fromstring(draw()).tag.endswith("svg")

    def test_shows_each_server_with_its_numbers_at_the_common_point(self) -> None:
        keep(FANOUT)
        keep(MEMORY)
        picture = draw()
        texts = [element.text for element in ET.fromstring(picture).iter()]
        assert {"hub", "Bun", "Node ws", "200,100", "190,000", "4.0 KB", "90.0 KB"} <= set(texts)
        assert "123,500" not in texts
