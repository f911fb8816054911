"""The list of routes in the documentation is that of the code."""

from pathlib import Path

from workers.api.reference import operations, reference_page, unconnected_app

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "api.md"


class TestPage:
    def test_page_is_what_the_code_says(self) -> None:
        assert PAGE.read_text() == reference_page(), "run `python -m workers.api.reference`"

    def test_every_route_says_what_it_does(self) -> None:
        silent = [
            operation for operation in operations(unconnected_app()) if not operation.text.endswith(".")
        ]
        assert silent == []
