import runpy
from pathlib import Path

import pytest

from realtime.events import reference
from realtime.events.catalogue import channel_templates, walk
from realtime.events.reference import render

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "events.md"


class TestReference:
    def test_page_is_up_to_date(self) -> None:
        """`python -m realtime.events.reference > docs/reference/events.md` writes it anew."""
        assert PAGE.read_text(encoding="utf-8") == render()

    def test_every_resource_has_a_heading(self) -> None:
        lines = render().splitlines()
        for path in walk():
            prefix = ".".join(f"{resource.word}.[{resource.param}]" for resource in path)
            assert lines.count(f"### `{prefix}`") == 1

    def test_every_channel_without_action_is_listed(self) -> None:
        page = render()
        actions = ("create", "update", "upsert", "delete")
        for channel in channel_templates():
            if not channel.endswith(actions):
                assert f"\n- `{channel}`\n" in page

    def test_module_run_as_a_program_writes_the_page(self, capsys: pytest.CaptureFixture[str]) -> None:
        runpy.run_path(reference.__file__, run_name="__main__")
        assert capsys.readouterr().out == render()
