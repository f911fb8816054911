"""The page of errors says everything, and says it of the code as it is."""

import runpy
from pathlib import Path

import pytest

from realtime.errors import CloseCode, ErrorKind
from realtime.hub import reference
from realtime.hub.reference import ANSWERS, ANY_TIME, CLOSES, OPENING, REFUSALS, render

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "errors.md"


class TestPage:
    def test_page_is_up_to_date(self) -> None:
        """`python -m realtime.hub.reference > docs/reference/errors.md` writes it anew."""
        assert PAGE.read_text(encoding="utf-8") == render()

    def test_module_run_as_a_program_writes_the_page(self, capsys: pytest.CaptureFixture[str]) -> None:
        runpy.run_path(reference.__file__, run_name="__main__")

        assert capsys.readouterr().out == render()

    def test_every_error_is_told_of_once(self) -> None:
        assert sorted(entry.kind.name for entry in (*OPENING, *ANSWERS, *ANY_TIME)) == sorted(
            kind.name for kind in ErrorKind
        )

    def test_errors_of_the_opening_all_close(self) -> None:
        assert all(entry.kind.value.close_code for entry in (*OPENING, *ANY_TIME))

    def test_errors_in_answer_to_a_message_close_for_code_1008_only(self) -> None:
        assert all((entry.kind.value.code == 1008) == bool(entry.kind.value.close_code) for entry in ANSWERS)

    def test_every_close_code_is_told_of(self) -> None:
        assert {close.code for close in CLOSES} >= set(CloseCode)

    def test_every_http_status_is_told_of(self) -> None:
        """Those that `test_bad_input.py` sees."""
        assert [refusal.status for refusal in REFUSALS] == [400, 404, 405, 408, 426, 431]

    def test_rows_have_as_many_cells_as_their_heads(self) -> None:
        head = 0
        for line in render().splitlines():
            cells = line.count(" | ") + 1
            head = 0 if not line.startswith("|") else head or cells
            assert not head or cells == head, line
